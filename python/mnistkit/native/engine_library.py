"""Where the dependency-free engine's library is: in the wheel, or compiled into the cache."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mnistkit import __version__
from mnistkit.common.errors import MissingError
from mnistkit.common.paths import cache_dir, cannot_write
from mnistkit.common.terminal import program
from mnistkit.native import sdk

LIBRARY_VARIABLE = "MNISTKIT_ENGINE_LIBRARY"
BUILD_COMMAND = "python -m mnistkit.native.engine_library"
NAME = "libmnistkit_engine.so"
_SOURCES = ("engine", "include", "cmake")
_LOG_LINES = 30


def engine_library() -> Path | None:
    """The engine's library, or None.

    ``$MNISTKIT_ENGINE_LIBRARY`` names one, and it is a :class:`MissingError` if that is not there;
    then come the wheel's own and the one that :func:`build_engine` made.
    """
    if named := os.environ.get(LIBRARY_VARIABLE):
        if not Path(named).is_file():
            raise MissingError(f"${LIBRARY_VARIABLE} names {named}, and there is no such file")
        return Path(named)
    inside = Path(__file__).parents[1] / "lib" / NAME
    if inside.is_file():
        return inside
    try:
        built = _cached()
    except MissingError:
        return None
    return built if built.is_file() else None


def engine_missing() -> str | None:
    """Why the engine cannot be used and the command that helps, or None."""
    try:
        found = engine_library()
    except MissingError as error:
        return str(error)
    return None if found else f"the engine is not compiled; compile it with: {BUILD_COMMAND}"


def build_engine(*, jobs: int = 0) -> Path:
    """Compile the engine into the user's cache, unless that was done, and return the library.

    Args:
        jobs: compilers that run at once; 0 takes one a core.

    Raises:
        MissingError: the sources, CMake or a C++20 compiler are missing, or the compiler stopped.
        UsageError: the cache folder cannot be written to.
    """
    library = _cached()
    if library.is_file():
        return library
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    cmake = shutil.which("cmake", path=beside)
    if cmake is None:
        raise MissingError("the engine needs CMake to compile; install it with: pip install cmake")
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent, prefix=".build-") as folder:
            off = [f"-DMNISTKIT_{part}=OFF" for part in ("BUILD_RUNNER", "BUILD_APPS", "INSTALL")]
            source = ["-S", str(sdk.source_dir()), "-B", folder]
            _run([cmake, *source, "-DCMAKE_BUILD_TYPE=Release", *off])
            count = str(jobs or os.cpu_count() or 1)
            target = ["--target", "mnistkit_engine"]
            _run([cmake, "--build", folder, *target, "--parallel", count])
            made = next(Path(folder).rglob(NAME))
            made.replace(library)  # whole or not at all, whoever else builds
    except OSError as error:
        raise cannot_write(library, error) from error
    return library


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        log = "\n".join((done.stdout + done.stderr).splitlines()[-_LOG_LINES:])
        raise MissingError(
            f"the engine was not built (exit code {done.returncode}). It needs a C++20 compiler "
            f"(Debian: apt-get install g++), CMake 3.21 and make or ninja\n{log}"
        )


@functools.cache
def _cached() -> Path:
    """The path in the cache, under a key that holds the version and a hash of the sources."""
    root = sdk.source_dir()
    digest = hashlib.sha256((root / "CMakeLists.txt").read_bytes())
    for folder in _SOURCES:
        for path in sorted((root / "cpp" / folder).rglob("*")):
            if path.is_file():
                digest.update(b"\0" + path.relative_to(root).as_posix().encode() + b"\0")
                digest.update(path.read_bytes())
    return cache_dir() / "engine" / f"{__version__}-{digest.hexdigest()[:16]}" / NAME


if __name__ == "__main__":
    program(lambda: print(build_engine()))
