"""The C++ JSON reader in a locale with a decimal comma, and compiled with another C++ library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cpp_build import ROOT, need_compiler, run, tool

SOURCES = ("cpp/core/json.cpp", "cpp/core/types.cpp", "tests/cpp/json_test.cpp")
FLAGS = ("-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror")
INCLUDES = tuple(f"-I{ROOT / part}" for part in ("cpp", "cpp/include", "tests/cpp"))


def test_a_decimal_comma_changes_no_number(tmp_path: Path) -> None:
    need_compiler()
    if not Path("/usr/share/i18n/locales/de_DE").is_file():
        pytest.skip("there is no source of a German locale (Debian: apt-get install locales)")
    run(tool("localedef"), "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8")
    program = tmp_path / "json_test"
    sources = (ROOT / source for source in SOURCES)
    run(tool("c++"), *FLAGS, *INCLUDES, *sources, "-o", program)
    run(program, env={"LOCPATH": str(tmp_path), "MNISTKIT_TEST_LOCALE": "de_DE.UTF-8"})


def libcxx_compiler(scratch: Path) -> str:
    """A clang that finds libc++; skips the test where there is none."""
    (scratch / "probe.cpp").write_text("#include <string>\nint main() { return 0; }\n")
    for name in ("clang++", *(f"clang++-{version}" for version in range(14, 23))):
        command = [name, "-stdlib=libc++", scratch / "probe.cpp", "-o", scratch / "probe"]
        if (
            shutil.which(name)
            and not subprocess.run(command, capture_output=True, check=False).returncode
        ):
            return name
    pytest.skip("there is no clang with libc++ (Debian: apt-get install clang-16 libc++-16-dev)")


def test_it_compiles_and_runs_with_libcxx(tmp_path: Path) -> None:
    """Before its version 20, libc++ cannot read a double by std::from_chars."""
    compiler = libcxx_compiler(tmp_path)
    program = tmp_path / "json_test"
    sources = (ROOT / source for source in SOURCES)
    run(compiler, "-stdlib=libc++", *FLAGS, *INCLUDES, *sources, "-o", program)
    run(program)
    for source in ("cpp/core", "cpp/apps", "cpp/engine"):
        for file in sorted((ROOT / source).glob("*.cpp")):
            run(compiler, "-stdlib=libc++", "-std=c++20", *INCLUDES, "-fsyntax-only", file)
