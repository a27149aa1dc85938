"""int8 bits do not follow the flags of the project that compiles the engine or the C export.

A consumer is configured as its users configure theirs, by ``find_package`` and with flags of its
own. On MNIST's 10,000 test images where they are on the disk, else on a few hundred made here.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shlex
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_engine
from cpp_build import ROOT, build, run, tool
from engine_nets import Array, digits, graphs, mnk, pictures, shipped
from mnistkit.export import c, native
from mnistkit.native import source
from mnistkit.quantization import reference
from mnistkit.quantization.graph import Int8Conv, Int8Graph

CONSUMER = Path(__file__).parent / "install" / "flags"
TARGETS = Path(__file__).parent / "targets"
NETS = ("base", "nano")
COUNT = 10_000
FAST = "-O3 -ffast-math -march=native"
LATE = "-DLATE=-Ofast;-ffast-math;-ffp-contract=fast;-march=native"
# 32-bit x86 is compiled by a cross compiler, whose programs an x86-64 kernel runs.
SSE2 = "-m32 -msse2 -mfpmath=sse"
X87 = "-m32 -mfpmath=387"
I686_PACKAGE = "g++-i686-linux-gnu"

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the flags in question are those of x86"
)


def with_last(graph: Int8Graph, **changes: Any) -> Int8Graph:
    """The graph with fields of its last convolution changed."""
    ops = list(graph.ops)
    index = max(i for i, op in enumerate(ops) if isinstance(op, Int8Conv))
    ops[index] = dataclasses.replace(ops[index], **changes)
    return dataclasses.replace(graph, ops=tuple(ops))


@cache
def extremes() -> tuple[tuple[Int8Graph, Array], ...]:
    """Nets at the ends of what the format allows, with the reference's logits of ``pictures()``.

    Sums of 2^24 and more, which a float32 does not hold, so that it matters where they are
    rounded; and the smallest multiplier, whose products are next to the denormals.
    """
    many = graphs("grouped")[1]  # its accumulators are summed over 49 pixels
    sums = with_last(many, bias=np.arange(10, dtype=np.int32) * 99_991 + 2_000_003)
    few = graphs("pooled")[1]
    scale = np.full(10, 2.0**-63, np.float32)  # squared it is the least multiplier
    tiny = with_last(few, in_scale=scale[0], weight_scale=scale)
    return tuple((graph, reference.logits(graph, pictures())) for graph in (sums, tiny))


def need(name: str, package: str) -> str:
    """The compiler of that name; skips where there is none."""
    try:
        return tool(name)
    except pytest.skip.Exception:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package})")


def consumer(tree: Path, flags: str, *options: str, targets: Iterable[str] = ()) -> Path:
    """The consumer project, compiled with these flags of its own."""
    settings = [f"-Dmnistkit_DIR={source.cmake_dir()}", f"-DCMAKE_CXX_FLAGS={flags}"]
    commands = ["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", f"-DCMAKE_C_FLAGS={flags}"]
    return build(CONSUMER, tree, [*settings, *commands, *options], tuple(targets))


def i686_consumer(tree: Path, flags: str) -> Path:
    need("i686-linux-gnu-g++", I686_PACKAGE)
    gnu = (("C", "gcc"), ("CXX", "g++"))
    cross = [f"-DCMAKE_{language}_COMPILER=i686-linux-gnu-{name}" for language, name in gnu]
    static = ["-DCMAKE_EXE_LINKER_FLAGS=-static", "-DCMAKE_BUILD_TYPE=Release"]
    return consumer(tree, flags, *cross, *static, targets=["logits_engine_static"])


def logits(*command: str | Path, images: Array) -> Array:
    """What a program that reads images and writes logits makes of these."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=images.tobytes(), capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"this kernel does not run 32-bit programs: {error}")
    assert done.returncode == 0, (words, done.returncode, done.stderr)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, 10)


def same_bits(got: Array, wanted: Array, what: object) -> None:
    assert len(got) == len(wanted) > 0, what
    differ = (got.view(np.uint32) != wanted.view(np.uint32)).any(1)
    assert not differ.any(), (
        f"{what}: {differ.sum()} of {len(got)} images have other bits, "
        f"{abs(got - wanted).max()} off, {(got.argmax(1) != wanted.argmax(1)).sum()} other labels"
    )


def check_engine(program: Path, folder: Path, kernels: Iterable[str]) -> None:
    """The reference's bits, of the shipped nets and the extreme ones, by each kernel set."""
    images = digits(COUNT)
    for name in NETS:
        graph, wanted = shipped(name, COUNT)
        model = folder / f"{name}.mnk"
        model.write_bytes(native.render(graph, "int8"))
        for kernel in kernels:
            # The plain reference and what is slow: a few images.
            count = 50 if kernel == "reference" else len(images)
            got = logits(program, model, kernel, images=images[:count])
            same_bits(got, wanted[:count], (program.name, name, kernel))
    check_extremes(program, folder, kernels)


def check_extremes(program: Path, folder: Path, kernels: Iterable[str], *options: str) -> None:
    for number, (graph, wanted) in enumerate(extremes()):
        model = folder / f"extreme{number}.mnk"
        model.write_bytes(native.render(graph, "int8"))
        for kernel in kernels:
            got = logits(program, model, kernel, *options, images=pictures())
            same_bits(got, wanted, (program.name, number, kernel, *options))


def check_refusals(program: Path, folder: Path) -> None:
    """Broken files are refused by the same rules: a NaN, an infinity and a denormal among them."""
    broken = dict(test_engine.BROKEN)
    broken["not finite"] = (18, test_engine._array(0, 32, 8, "f", float("inf")), True)
    for name, (rule, change, reseal) in broken.items():
        content = bytearray(mnk("small", "fp32") if rule == 18 else test_engine._model())
        change(content)
        if reseal:
            test_engine._reseal(content)
        (folder / "broken.mnk").write_bytes(content)
        command = [program, folder / "broken.mnk", "", "flush"]
        done = subprocess.run(command, input=b"", capture_output=True, check=False)
        assert done.stderr.startswith(f"rule {rule} of the .mnk format".encode()), (name, done)


def kernel_sets() -> list[str]:
    """The sets that this CPU runs, by what the kernel says of it."""
    flags = Path("/proc/cpuinfo").read_text().split()
    wanted = {"avx2": "avx2", "avx-vnni": "avx_vnni", "avx512-vnni": "avx512_vnni"}
    return [*(name for name, flag in wanted.items() if flag in flags), "portable", "reference"]


def test_extremes_are_extreme() -> None:
    (sums, _), (few, tiny) = extremes()
    integers = reference.run(sums, pictures())[1][sums.ops[-1].name]
    assert abs(integers).max() > 2**24
    assert (integers.astype(np.float32) != integers).any()
    accumulators = reference.run(few, pictures())[1][few.ops[-1].name][:, :, 0, 0]
    np.testing.assert_array_equal(tiny.astype(np.float64), accumulators * 2.0**-126)


# ---- The engine, compiled by the user's project ------------------------------------------------


@pytest.fixture(scope="module")
def fast_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The consumer with fast maths, in a unity build."""
    return consumer(tmp_path_factory.mktemp("fast"), FAST, "-DCMAKE_UNITY_BUILD=ON")


def test_fast_math(fast_tree: Path, tmp_path: Path) -> None:
    check_engine(fast_tree / "logits_engine_static", tmp_path, kernel_sets())
    check_extremes(fast_tree / "logits_engine", tmp_path, kernel_sets())


def test_mnistkits_flags_come_last(fast_tree: Path) -> None:
    """Also in a unity build each source of the engine is compiled alone, with its own flags."""
    commands = json.loads((fast_tree / "compile_commands.json").read_text())
    sources = Path(source.source_dir(), "cpp", "engine").resolve()
    engine = [entry for entry in commands if sources in Path(entry["file"]).resolve().parents]
    names = {Path(entry["file"]).name for entry in engine}
    assert {"engine.cpp", "portable.cpp", "cpu.cpp", "avx2.cpp", "avx512_vnni.cpp"} <= names
    for entry in engine:
        words = shlex.split(entry["command"])
        assert words.index("-ffast-math") < words.index("-fno-fast-math"), entry["command"]
        assert words.index("-fno-fast-math") < words.index("-ffp-contract=off")
        assert Path(entry["file"]).name == "avx512_vnni.cpp" or "-mavx512vnni" not in words
    (cpu, *_) = (entry for entry in engine if entry["file"].endswith("cpu.cpp"))
    assert not [word for word in shlex.split(cpu["command"]) if word.startswith("-mavx")]


def test_the_library_leaves_denormals_alone(fast_tree: Path) -> None:
    """Linked with -ffast-math, it would switch them off for the process that loads it."""
    (library,) = fast_tree.rglob("libmnistkit_engine.so")
    assert "set_fast_math" not in run(tool("nm"), library)
    assert "mnistkit_engine_run" in run(tool("nm"), library)


def test_flushed_denormals_change_nothing(fast_tree: Path, tmp_path: Path) -> None:
    for kernel in kernel_sets():
        for name in NETS:
            graph, wanted = shipped(name, COUNT)
            (tmp_path / "m.mnk").write_bytes(native.render(graph, "int8"))
            program = [fast_tree / "logits_engine_static", tmp_path / "m.mnk", kernel, "flush"]
            same_bits(logits(*program, images=digits(COUNT)[:50]), wanted[:50], (name, kernel))
    check_extremes(fast_tree / "logits_engine_static", tmp_path, kernel_sets(), "flush")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_sources_need_no_flags(compiler: str, tmp_path: Path) -> None:
    """Fast maths forced on mnistkit's own targets: as in a build without its CMake files."""
    need(compiler, "clang" if "clang" in compiler else compiler)
    other = [f"-DCMAKE_CXX_COMPILER={compiler}"]
    if compiler == "clang++":
        other.append("-DCMAKE_C_COMPILER=clang")
    target = ["logits_engine_static"]
    tree = consumer(tmp_path / "tree", "-O3", LATE, *other, targets=target)
    command = next(
        entry["command"]
        for entry in json.loads((tree / "compile_commands.json").read_text())
        if entry["file"].endswith("portable.cpp")
    )
    assert command.index("-fno-fast-math") < command.index("-ffp-contract=fast")
    check_engine(tree / "logits_engine_static", tmp_path, kernel_sets())
    check_refusals(tree / "logits_engine_static", tmp_path)


@pytest.mark.parametrize("flags", [SSE2, X87])
def test_32_bits(flags: str, tmp_path: Path) -> None:
    """By SSE2, and by x87 registers of 80 bits; no kernels for x86-64 are compiled."""
    tree = i686_consumer(tmp_path / "tree", flags)
    check_engine(tree / "logits_engine_static", tmp_path, ["portable", "reference"])
    (tmp_path / "m.mnk").write_bytes(b"")
    program = [tree / "logits_engine_static", tmp_path / "m.mnk", "avx2"]
    refused = subprocess.run(program, input=b"", capture_output=True, check=False)
    assert b"unknown kernels" in refused.stderr


# ---- Instructions stay in their files ----------------------------------------------------------


@pytest.mark.parametrize("flags", ["-O0", "-O2"])
def test_no_function_of_a_vector_file_is_shared(flags: str, tmp_path: Path) -> None:
    """An inline function with AVX-512 in it would be weak, and might be linked for all."""
    nm = tool("nm")
    tree = consumer(
        tmp_path / "tree", flags, "-DCMAKE_BUILD_TYPE=Debug", targets=["mnistkit_engine_static"]
    )
    objects = [p for p in tree.rglob("*.o") if p.name.startswith("avx")]
    assert len(objects) >= 3
    for file in objects:
        rows = [line.split() for line in run(nm, "--demangle", file).splitlines()]
        defined = [row for row in rows if len(row) > 2]
        assert any(row[1] == "t" for row in defined)
        shared = [row for row in defined if row[1] in "WVuTi"]
        assert not shared, f"{file.name}: {shared}"
        assert ".init_array" not in run(tool("objdump"), "-h", file), file.name


# ---- Rounding, float by float ------------------------------------------------------------------


@pytest.mark.parametrize("flags", [FAST, "-O3 -ffast-math -mfpmath=387"])
def test_rounding(flags: str, tmp_path: Path) -> None:
    compiler, program = need("g++", "g++"), tmp_path / "rounding"
    source = TARGETS / "rounding.cpp"
    include = ["-std=c++20", "-I", ROOT / "cpp" / "engine"]
    run(compiler, *flags.split(), *include, source, "-o", program)
    assert run(program) == ""


@pytest.mark.parametrize("language", ["c", "c++"])
def test_other_floats_are_refused(language: str, tmp_path: Path) -> None:
    """As if the compiler said that its float has 53 bits."""
    compiler = need("g++" if language == "c++" else "gcc", "g++")
    file, standard = source.source_dir() / "cpp" / "engine" / "plan.cpp", "-std=c++20"
    if language == "c":
        file, standard = tmp_path / "model.c", "-std=c99"
        file.write_bytes(c.render(graphs("nano")[1], "int8"))
    command = [compiler, standard, "-fsyntax-only", str(file)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    command += ["-U__FLT_MANT_DIG__", "-D__FLT_MANT_DIG__=53"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "float to be IEEE binary32" in done.stderr


# ---- The C export ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", FAST),
        ("gcc", "-O3 -ffast-math -mfpmath=387"),
        ("clang", FAST),
        ("i686-linux-gnu-gcc", f"-static -O2 {SSE2}"),
        ("i686-linux-gnu-gcc", f"-static -O3 -ffast-math {X87}"),
    ],
)
def test_the_c_export(compiler: str, flags: str, tmp_path: Path) -> None:
    found = need(compiler, I686_PACKAGE if "i686" in compiler else compiler)
    nets = [(*shipped(name, COUNT), digits(COUNT)) for name in NETS]
    nets += [(graph, wanted, pictures()) for graph, wanted in extremes()]
    for number, (graph, wanted, images) in enumerate(nets):
        model, program = tmp_path / f"model{number}.c", tmp_path / f"model{number}"
        model.write_bytes(c.render(graph, "int8"))
        scratch = c.header(graph, "int8").decode().split("_SCRATCH ")[1].split()[0]
        symbol = c.symbol(graph, "int8")
        defines = [f"-DMODEL_RUN={symbol}_run", f"-DMODEL_SCRATCH={scratch}"]
        run(found, *flags.split(), *defines, model, TARGETS / "c_stream.c", "-o", program)
        same_bits(logits(program, images=images), wanted, (compiler, flags, number))
