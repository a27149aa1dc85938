"""The C++ SDK: where it lies, and how the libtorch runner is compiled for this environment.

The runner must be compiled against the very libtorch that it runs with, so the package ships its
sources. :func:`build_runner` compiles them once, into the user's cache folder, under a key that
holds the versions and a hash of the sources; a stale library is never found.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from mnistkit import __version__
from mnistkit.common.errors import MissingError
from mnistkit.common.paths import cache_dir, cannot_write

LIBRARY_VARIABLE = "MNISTKIT_RUNNER_LIBRARY"
BUILD_COMMAND = "mnistkit build-runner"

_BUILD_TOOLS = "pip install cmake ninja"
_SOURCES = ("include", "core", "image", "torch", "apps", "bench", "cmake")
_LOG_LINES = 30


def source_dir() -> Path:
    """The SDK's root, with its ``CMakeLists.txt``: the checkout, or the copy in the package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    root = checkout if (checkout / "cpp" / "torch").is_dir() else package / "_sdk"
    if not (root / "CMakeLists.txt").is_file():
        raise MissingError(
            f"the C++ SDK is not in this installation (looked in {root}); install it again with: "
            f"pip install --force-reinstall --no-deps mnistkit"
        )
    return root


def cmake_dir() -> Path:
    """The folder for ``-Dmnistkit_DIR``, with ``mnistkit-config.cmake``."""
    return source_dir() / "cpp" / "cmake"


def include_dir() -> Path:
    """The folder of the public headers, for ``-I``."""
    return source_dir() / "cpp" / "include"


def runner_library() -> Path | None:
    """The compiled runner that fits this mnistkit and this PyTorch, or None.

    ``$MNISTKIT_RUNNER_LIBRARY`` names another; it is a :class:`MissingError` if that is not there.
    """
    if named := os.environ.get(LIBRARY_VARIABLE):
        if not Path(named).is_file():
            raise MissingError(f"${LIBRARY_VARIABLE} names {named}, and there is no such file")
        return Path(named)
    if _torch_dir() is None:
        return None
    library = _library(_prefix())
    return library if library.is_file() else None


def runner_missing() -> str | None:
    """Why the runner cannot be used and the command that helps, or None."""
    try:
        if runner_library() is not None:
            return None
    except MissingError as error:
        return str(error)
    if _torch_dir() is None:
        return "PyTorch is not installed; install it with: pip install torch"
    return f"the C++ runner is not compiled for this PyTorch; compile it with: {BUILD_COMMAND}"


def runner_program(name: str = "mnistkit-run") -> Path | None:
    """A program that :func:`build_runner` built (``mnistkit-run``, ``mnistkit-bench``), or None."""
    if _torch_dir() is None:
        return None
    program = _prefix() / "bin" / name
    return program if program.is_file() else None


def build_runner(*, jobs: int = 0, verbose: bool = False) -> Path:
    """Compile the runner and its programs, unless that was done, and return the library.

    Args:
        jobs: compilers that run at once; 0 takes one a core.
        verbose: show what CMake and the compiler print, on standard error.

    Raises:
        MissingError: PyTorch, CMake or a C++20 compiler is missing, or the compiler stopped.
        UsageError: the cache folder cannot be written to.
    """
    torch_dir = _torch_dir()
    if torch_dir is None:
        raise MissingError("the C++ runner needs PyTorch; install it with: pip install torch")
    prefix = _prefix()
    if not _library(prefix).is_file():
        cmake = _tool("cmake")
        if cmake is None:
            raise MissingError(f"the C++ runner needs CMake; install it with: {_BUILD_TOOLS}")
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=prefix.parent, prefix=".build-") as folder:
                staged = Path(folder) / "prefix"
                configure = [cmake, "-S", str(source_dir()), *_options(torch_dir, staged)]
                _compile(configure, Path(folder) / "tree", jobs, verbose)
                _move_into_place(staged, prefix)
        except OSError as error:
            raise cannot_write(prefix, error) from error
    return _library(prefix)


def _options(torch_dir: Path, prefix: Path) -> list[str]:
    generator = (
        ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if (ninja := _tool("ninja")) else []
    )
    return [
        *generator,
        "-DCMAKE_BUILD_TYPE=Release",
        "-DMNISTKIT_BUILD_ENGINE=OFF",
        "-DCMAKE_INSTALL_LIBDIR=lib",
        f"-DCMAKE_INSTALL_PREFIX={prefix}",
        f"-DMNISTKIT_TORCH_DIR={torch_dir}",
    ]


def _compile(configure: list[str], tree: Path, jobs: int, verbose: bool) -> None:
    cmake = configure[0]
    _run([*configure, "-B", str(tree)], "cmake could not configure it", verbose)
    build = [cmake, "--build", str(tree), "--parallel", str(jobs or os.cpu_count() or 1)]
    _run(build, "the compiler stopped", verbose)
    _run([cmake, "--install", str(tree)], "it could not be installed", verbose)


def _run(command: list[str], failure: str, verbose: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DESTDIR"}
    output = sys.stderr if verbose else subprocess.PIPE
    done = subprocess.run(
        command, stdout=output, stderr=subprocess.STDOUT, text=True, check=False, env=environment
    )
    if done.returncode:
        log = "\n".join((done.stdout or "").splitlines()[-_LOG_LINES:])
        raise MissingError(
            f"the C++ runner was not built: {failure} (exit code {done.returncode}). It needs a "
            f"C++20 compiler (Debian: apt-get install g++), CMake 3.21 and make or ninja "
            f"({_BUILD_TOOLS})" + (f"\n{log}" if log else "")
        )


def _move_into_place(staged: Path, prefix: Path) -> None:
    try:
        staged.rename(prefix)
    except OSError:
        # Another process was first; its result is the same.
        if not _library(prefix).is_file():
            raise


def _tool(name: str) -> str | None:
    """A program from this environment or from PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", ""))))


def _library(prefix: Path) -> Path:
    return prefix / "lib" / "libmnistkit_runner.so"


def _prefix() -> Path:
    return cache_dir() / "runner" / _key()


@functools.cache
def _torch_dir() -> Path | None:
    spec = find_spec("torch")  # finds it without importing it
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


@functools.cache
def _key() -> str:
    """Names the build: the versions, and a hash of the sources and of where PyTorch lies."""
    root = source_dir()
    files = [root / "CMakeLists.txt"]
    for folder in _SOURCES:
        files += sorted(path for path in (root / "cpp" / folder).rglob("*") if path.is_file())
    torch_dir = _torch_dir() or Path()
    version = re.search(r"__version__ = '(.+)'", (torch_dir / "version.py").read_text())
    torch = version[1] if version else "unknown"
    digest = hashlib.sha256(f"{torch_dir} {torch}".encode())
    for path in files:
        digest.update(b"\0" + path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return f"{__version__}-torch{torch.partition('+')[0]}-{digest.hexdigest()[:16]}"
