"""The C API's structs between a program and a library of different versions, both ways.

Older and newer headers are made here of today's: the older one lacks the last fields, the newer one
has one more. A newer library is c_api.cpp compiled against the newer header, before today's runner.
"""

from __future__ import annotations

import ctypes
import re
import shutil
from pathlib import Path

import pytest
from cpp_build import ROOT, need_compiler, run, tool
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.libtorch import _api, _Options
from mnistkit.common.errors import UsageError
from mnistkit.native.library import RUNNER

PROGRAM = ROOT / "tests" / "data" / "c_abi.c"
INCLUDE = ROOT / "cpp" / "include"
SIZE = ctypes.sizeof(_Options)


@pytest.fixture(scope="module")
def library() -> Path:
    need_compiler()
    tool("cmake")
    return RUNNER.find() or RUNNER.build()


def headers(folder: Path, name: str) -> Path:
    """A copy of the public headers with mnistkit.h of that name: older, same or newer."""
    include = Path(shutil.copytree(INCLUDE, folder / name))
    file = include / "mnistkit" / "mnistkit.h"
    text = file.read_text()
    ends = {"options": "} mnistkit_runner_options;", "report": "} mnistkit_self_check;"}
    assert all(text.count(end) == 1 for end in ends.values())
    if name == "older":
        for field in ("int64_t max_batch", "int32_t cuda_graphs", "int32_t reserved"):
            text, count = re.subn(rf"  {field};.*\n", "", text)
            assert count == 1, field
        for field in ("float tolerance", "int32_t passed"):
            text, count = re.subn(rf"  {field};.*\n", "", text)
            assert count == 1, field
    if name == "newer":
        text = text.replace(ends["options"], f"  int64_t later;\n{ends['options']}")
        text = text.replace(ends["report"], f"  int64_t more;\n{ends['report']}")
    file.write_text(text)
    return include


def link(*libraries: Path) -> list[str]:
    return [part for path in libraries for part in (str(path), f"-Wl,-rpath,{path.parent}")]


def program(folder: Path, name: str, libraries: list[Path], *flags: str) -> Path:
    """The program compiled against the headers of that name."""
    out = folder / f"program-{name}"
    defines = ["-DNEWER"] if name == "newer" else []
    command = [tool("cc"), "-std=c99", "-Wall", "-Werror", *defines, *flags]
    run(*command, f"-I{headers(folder, name)}", PROGRAM, "-o", out, *link(*libraries))
    return out


def lines(program: Path, artifact: Artifact, *arguments: str) -> dict[str, str]:
    """What the program prints, by the first word of the line."""
    told = run(program, artifact.path, *arguments)
    return dict(line.split(" ", 1) for line in told.splitlines())


@pytest.mark.parametrize("flags", [[], ["-DBY_NAME"]], ids=["macro", "by-name"])
def test_the_same_version(
    library: Path, artifact: Artifact, tmp_path: Path, flags: list[str]
) -> None:
    told = lines(program(tmp_path, "same", [library], *flags), artifact)
    assert told["init"] == f"{SIZE} fp32"
    assert (told["open"], told["guards"]) == ("ok", "1 1")
    assert told["check"].startswith("ok ")


def test_an_older_program_with_this_library(
    library: Path, artifact: Artifact, tmp_path: Path
) -> None:
    """The bytes behind its smaller struct are neither written nor taken for options."""
    told = lines(program(tmp_path, "older", [library]), artifact)
    assert told["init"] == f"{_Options.max_batch.offset} fp32"
    assert (told["open"], told["guards"]) == ("ok", "1 1")
    assert told["check"].startswith("ok ")


def test_a_newer_program_with_this_library(
    library: Path, artifact: Artifact, tmp_path: Path
) -> None:
    """Options that the library does not have are refused by name where they are set."""
    newer = program(tmp_path, "newer", [library])
    told = lines(newer, artifact)
    assert told["init"] == f"{SIZE + 8} fp32"
    assert (told["later"], told["more"]) == ("0", "0")
    assert (told["open"], told["guards"]) == ("ok", "1 1")
    told = lines(newer, artifact, "set")
    assert told["open"] == "invalid_argument"
    assert f"byte {SIZE} of {SIZE + 8} is set" in told["error"]
    assert "take a newer library, or leave that option at 0" in told["error"]
    assert told["guards"] == "1 1"


@pytest.mark.parametrize("flags", [[], ["-DBY_NAME"]], ids=["macro", "by-name"])
def test_this_program_with_a_newer_library(
    library: Path, artifact: Artifact, tmp_path: Path, flags: list[str]
) -> None:
    newer = tmp_path / "libmnistkit_newer.so"
    parts = ("torch/c_api.cpp", "core/c_api.cpp", "core/process.cpp")
    sources = [ROOT / "cpp" / part for part in parts]
    # The newer headers before this checkout's: "mnistkit/mnistkit.h" is the newer one.
    includes = [f"-I{headers(tmp_path, 'newer')}", f"-I{ROOT / 'cpp'}"]
    compiler = [tool("c++"), "-std=c++20", "-O1", "-shared", "-fPIC", "-DMNISTKIT_BUILDING"]
    run(*compiler, *includes, *sources, "-o", newer, *link(library))
    told = lines(program(tmp_path, "same", [newer, library], *flags), artifact)
    assert told["init"] == f"{SIZE} fp32"
    assert (told["open"], told["guards"]) == ("ok", "1 1")
    assert told["check"].startswith("ok ")


@pytest.mark.parametrize("size", [0, 8, 23, 61, 4104, 0xA5A5A5A5A5A5A5A5])
def test_a_struct_size_that_was_not_set_is_refused(
    library: Path, artifact: Artifact, size: int
) -> None:
    options = _Options(struct_size=size)
    handle = ctypes.c_void_p()
    api = _api(library)
    with pytest.raises(UsageError, match=f"struct_size is {size}, here it is {SIZE}; call mnist"):
        api.check(api.open(str(artifact.path).encode(), options, handle))
    assert not handle.value


def test_the_reserved_field_is_for_a_later_library(library: Path, artifact: Artifact) -> None:
    options = _Options()
    api = _api(library)
    api.options_init(options, SIZE)
    assert (options.struct_size, options.verify, options.reserved) == (SIZE, 1, 0)
    options.reserved = 1
    where = _Options.reserved.offset
    with pytest.raises(UsageError, match=f"byte {where} of {SIZE} is set"):
        api.check(api.open(str(artifact.path).encode(), options, ctypes.c_void_p()))


def test_python_has_the_struct_of_the_header(tmp_path: Path) -> None:
    names = [name for name, _ in _Options._fields_]
    rows = "".join(
        f'printf("{name} %d\\n", (int)offsetof(mnistkit_runner_options, {name}));' for name in names
    )
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include <stdio.h>\n#include "mnistkit/mnistkit.h"\n'
        f"int main(void) {{ {rows}\n"
        'printf("size %d\\n", (int)sizeof(mnistkit_runner_options)); return 0; }\n'
    )
    run(tool("cc"), f"-I{INCLUDE}", source, "-o", tmp_path / "sizes")
    told = dict(line.split() for line in run(tmp_path / "sizes").splitlines())
    assert told.pop("size") == str(SIZE)
    assert told == {name: str(getattr(_Options, name).offset) for name in names}
