"""The native libraries: each is found, or compiled once into the user's cache folder.

The runner must be compiled against the very libtorch that it runs with, so the package ships its
sources. The engine is in the wheel, and a checkout compiles it. A build lies under a key that holds
the versions and a hash of the sources, so a stale library is never found.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mnistkit import __version__
from mnistkit.common.errors import MissingError
from mnistkit.common.paths import cache_dir, cannot_write
from mnistkit.native.source import source_dir, source_hash

_BUILD_TOOLS = "pip install cmake ninja"
_LOG_LINES = 30


@dataclass(frozen=True)
class NativeLibrary:
    """A shared library of the C++ SDK, with the programs that are installed beside it."""

    name: str
    title: str  # as messages have it
    file: str
    variable: str  # of the environment: names another library
    command: str  # what compiles it
    sources: tuple[str, ...]  # folders of cpp/
    options: tuple[str, ...]  # for CMake
    target: str = ""  # of CMake, where the library is all that is built
    needs_torch: bool = False

    def find(self) -> Path | None:
        """The library that fits this installation, or None where it is not compiled.

        ``variable`` names another, and it is a :class:`MissingError` if that is not there; then
        come the wheel's own and the one that :meth:`build` made.
        """
        if named := os.environ.get(self.variable):
            if not Path(named).is_file():
                raise MissingError(f"${self.variable} names {named}, and there is no such file")
            return Path(named)
        inside = Path(__file__).parents[1] / "lib" / self.file
        if inside.is_file():
            return inside
        try:
            built = self._library(_prefix(self))
        except MissingError:
            return None
        return built if built.is_file() else None

    def missing(self) -> str | None:
        """Why it cannot be used and the command that helps, or None."""
        try:
            if self.find() is not None:
                return None
            self._torch()
        except MissingError as error:
            return str(error)
        fit = " for this PyTorch" if self.needs_torch else ""
        return f"the {self.title} is not compiled{fit}; compile it with: {self.command}"

    def program(self, name: str) -> Path | None:
        """A program that :meth:`build` installed beside the library, or None."""
        try:
            program = _prefix(self) / "bin" / name
        except MissingError:
            return None
        return program if program.is_file() else None

    def build(self, *, jobs: int = 0, verbose: bool = False) -> Path:
        """Compile it into the user's cache, unless that was done, and return the library.

        Args:
            jobs: compilers that run at once; 0 takes one a core.
            verbose: show what CMake and the compiler print, on standard error.

        Raises:
            MissingError: the sources, CMake, a C++20 compiler or PyTorch (for the runner) is
                missing, or the compiler stopped.
            UsageError: the cache folder cannot be written to.
        """
        torch_dir, prefix = self._torch(), _prefix(self)
        library = self._library(prefix)
        if library.is_file():
            return library
        cmake = _tool("cmake")
        if cmake is None:
            raise MissingError(f"the {self.title} needs CMake; install it with: {_BUILD_TOOLS}")
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=prefix.parent, prefix=".build-") as folder:
                staged, tree = Path(folder) / "prefix", Path(folder) / "tree"
                run = functools.partial(self._run, verbose=verbose)
                configure = ["-S", str(source_dir()), "-B", str(tree)]
                options = self._options(torch_dir, staged)
                run([cmake, *configure, *options], "cmake could not configure it")
                target = ["--target", self.target] if self.target else []
                count = str(jobs or os.cpu_count() or 1)
                build = [cmake, "--build", str(tree), *target, "--parallel", count]
                run(build, "the compiler stopped")
                if self.target:
                    self._library(staged).parent.mkdir(parents=True)
                    shutil.copy2(next(tree.rglob(self.file)), self._library(staged))
                else:
                    run([cmake, "--install", str(tree)], "it could not be installed")
                _move_into_place(staged, prefix, self._library(prefix))
        except OSError as error:
            raise cannot_write(prefix, error) from error
        return library

    def _torch(self) -> Path | None:
        """PyTorch's folder where it is needed; :class:`MissingError` where it is not there."""
        if not self.needs_torch:
            return None
        torch_dir = _torch_dir()
        if torch_dir is None:
            raise MissingError(
                f"the {self.title} needs PyTorch, and PyTorch is not installed; install it with: "
                f"pip install torch"
            )
        return torch_dir

    def _library(self, prefix: Path) -> Path:
        return prefix / "lib" / self.file

    def _options(self, torch_dir: Path | None, prefix: Path) -> list[str]:
        options = [
            *self.options,
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_INSTALL_LIBDIR=lib",
            f"-DCMAKE_INSTALL_PREFIX={prefix}",
        ]
        if ninja := _tool("ninja"):
            options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        if torch_dir is not None:
            options.append(f"-DMNISTKIT_TORCH_DIR={torch_dir}")
        return options

    def _run(self, command: list[str], failure: str, *, verbose: bool) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "DESTDIR"}
        output = sys.stderr if verbose else subprocess.PIPE
        done = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode:
            log = "\n".join((done.stdout or "").splitlines()[-_LOG_LINES:])
            raise MissingError(
                f"the {self.title} was not built: {failure} (exit code {done.returncode}). It "
                f"needs a C++20 compiler (Debian: apt-get install g++), CMake 3.21 and make or "
                f"ninja ({_BUILD_TOOLS})" + (f"\n{log}" if log else "")
            )


ENGINE = NativeLibrary(
    name="engine",
    title="C++ engine",
    file="libmnistkit_engine.so",
    variable="MNISTKIT_ENGINE_LIBRARY",
    command="python -m mnistkit.native engine",
    sources=("engine", "include", "cmake"),
    options=("-DMNISTKIT_BUILD_RUNNER=OFF", "-DMNISTKIT_BUILD_APPS=OFF"),
    target="mnistkit_engine",
)
RUNNER = NativeLibrary(
    name="runner",
    title="C++ runner",
    file="libmnistkit_runner.so",
    variable="MNISTKIT_RUNNER_LIBRARY",
    command="mnistkit build-runner",
    sources=("include", "core", "image", "torch", "apps", "bench", "cmake"),
    options=("-DMNISTKIT_BUILD_ENGINE=OFF",),
    needs_torch=True,
)
LIBRARIES = {library.name: library for library in (ENGINE, RUNNER)}


def _move_into_place(staged: Path, prefix: Path, library: Path) -> None:
    try:
        staged.rename(prefix)
    except OSError:
        # Another process was first; its result is the same.
        if not library.is_file():
            raise


def _tool(name: str) -> str | None:
    """A program from this environment or from PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", ""))))


@functools.cache
def _torch_dir() -> Path | None:
    spec = find_spec("torch")  # finds it without importing it
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


@functools.cache
def _prefix(library: NativeLibrary) -> Path:
    """Where a build lies: under the versions, and a hash of the sources and of PyTorch's place."""
    torch_dir = library._torch()
    if torch_dir is None:
        return cache_dir() / library.name / f"{__version__}-{source_hash(library.sources)}"
    found = re.search(r"__version__ = '(.+)'", (torch_dir / "version.py").read_text())
    torch = found[1] if found else "unknown"
    digest = source_hash(library.sources, f"{torch_dir} {torch}")
    return cache_dir() / library.name / f"{__version__}-torch{torch.partition('+')[0]}-{digest}"
