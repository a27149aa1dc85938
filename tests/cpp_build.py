"""Building C++ in the tests: folders under build/ that are kept from run to run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"


def tool(name: str) -> str:
    """A program of this environment or on PATH; skips the test where there is none."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if (found := shutil.which(name, path=places)) is None:
        pytest.skip(f"there is no {name} on this machine")
    return found


def need_compiler() -> None:
    """Skip the test where there is no C++ compiler."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        pytest.skip("there is no C++ compiler on this machine (Debian: apt-get install g++)")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints on standard output; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (env or {}),
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-80:])
        pytest.fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{tail}")
    return done.stdout


def build(source: Path, tree: Path, options: Sequence[str], targets: Sequence[str] = ()) -> Path:
    """Configure and build ``source`` in ``tree``, one process at a time, and return ``tree``."""
    need_compiler()
    cmake, ninja = tool("cmake"), tool("ninja")
    tree.mkdir(parents=True, exist_ok=True)
    with (tree / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        configure = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-S", source, "-B", tree]
        run(cmake, *configure, f"-DMNISTKIT_PYTHON={sys.executable}", *options)
        wanted = ["--target", *targets] if targets else []
        run("nice", cmake, "--build", tree, "--parallel", "2", *wanted)
    return tree
