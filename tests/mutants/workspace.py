"""A copy of the repository with a Python environment of its own, in which mutants are tried.

The copy, its build trees and its caches lie under ``build/mutants`` and are kept, so that the next
run compiles little. Each run first makes the copy equal to the checkout again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistkit.common.errors import MissingError
from mnistkit.native.library import ENGINE, RUNNER

from mutants import outcome
from mutants.catalogue import Mutant

_LIBRARY = "libmnistkit_engine.so"
_KEPT = (".hypothesis", "build")  # made by tests, in the copy


class BuildError(Exception):
    """A copy cannot be made, or its engine does not compile."""


@dataclass(frozen=True)
class Outcome:
    """What pytest said: its exit code, and an entry for each test that ran (see outcome.py)."""

    code: int
    tests: list[dict[str, Any]]
    text: str

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [test for test in self.tests if test["outcome"] == "failed"]

    def of(self, test: str) -> Outcome:
        """The part of it that is of one node id: a test, one of its cases, or a file."""
        inside = (f"{test}[", f"{test}::")
        mine = [e for e in self.tests if e["test"] == test or e["test"].startswith(inside)]
        failed = any(entry["outcome"] == "failed" for entry in mine)
        return Outcome(int(failed), mine, self.text)

    @property
    def passed(self) -> list[dict[str, Any]]:
        return [test for test in self.tests if test["outcome"] == "passed"]


class Workspace:
    """One copy; a mutant at a time."""

    def __init__(self, root: Path, folder: Path, compilers: int = 1) -> None:
        self.root, self.folder, self._compilers = root, folder, compilers
        self.tree = folder / "tree"
        self._python = folder / "env" / "bin" / "python"
        self._engine: Path | None = None
        self._runner: Path | None = None

    def prepare(self) -> None:
        """Make the copy equal to the checkout, and its environment find the copy."""
        for name in ("tree", "site/mnistkit", "cache"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._copy()
        self._environment()
        self._engine = self._pristine()
        try:  # compiled from the same sources; to compile it here would take minutes
            self._runner = RUNNER.find()
        except MissingError:
            self._runner = None

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=self.root,
            check=False,
            capture_output=True,
            text=True,
        )
        if listed.returncode:
            raise BuildError(f"mutants want a git checkout: {listed.stderr.strip()}")
        files = {name for name in listed.stdout.split("\0") if (self.root / name).is_file()}
        for name in files:
            source, target = self.root / name, self.tree / name
            # What is equal keeps its time, so that nothing is compiled again for it.
            if not (target.is_file() and target.read_bytes() == source.read_bytes()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        for path in self.tree.rglob("*"):
            place = path.relative_to(self.tree)
            if path.is_file() and place.as_posix() not in files and place.parts[0] not in _KEPT:
                path.unlink()

    def _environment(self) -> None:
        """A venv that sees this one's packages, but takes ``mnistkit`` from the copy.

        An editable installation finds ``mnistkit`` by a hook that a ``.pth`` file sets; a folder
        that is only on the path has its ``.pth`` files left alone.
        """
        if not self._python.exists():
            venv.create(self.folder / "env", symlinks=True)
        site = self.folder / "site" / "mnistkit"
        for link in site.iterdir():
            link.unlink()
        for part in [*(self.tree / "python" / "mnistkit").iterdir(), self.tree / "export"]:
            (site / part.name).symlink_to(part)
        places = [
            path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")
        ]
        names = [str(site.parent), *places]
        scheme = {"base": str(self.folder / "env"), "platbase": str(self.folder / "env")}
        packages = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
        (packages / "mutants.pth").write_text("\n".join(names) + "\n")

    def _pristine(self) -> Path | None:
        """The engine of the unchanged copy; None where there is nothing to compile it with."""
        cmake = shutil.which("cmake", path=self._path())
        if cmake is None or not (self.tree / "CMakeLists.txt").is_file():
            return None
        kept = self.folder / f"pristine-{_LIBRARY}"
        made = self._build()
        if not (kept.is_file() and kept.read_bytes() == made.read_bytes()):
            shutil.copy(made, kept)
        return kept

    def _build(self) -> Path:
        """Compile the engine as it is in the copy, only what has changed."""
        tree = self.folder / "engine"
        off = [f"-DMNISTKIT_{part}=OFF" for part in ("BUILD_RUNNER", "BUILD_APPS", "INSTALL")]
        configure = ["cmake", "-S", self.tree, "-B", tree, "-DCMAKE_BUILD_TYPE=Release", *off]
        compile = ["nice", "cmake", "--build", tree, "--target", "mnistkit_engine"]
        compile += ["--parallel", self._compilers]
        commands = [compile] if (tree / "CMakeCache.txt").is_file() else [configure, compile]
        for command in commands:
            done = subprocess.run(
                [str(word) for word in command],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PATH": self._path()},
            )
            if done.returncode:
                raise BuildError("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
        return next(tree.rglob(_LIBRARY))

    def _path(self) -> str:
        """The programs of this environment first: the copy's has none but Python."""
        return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[Path | None]:
        """Apply a mutant for a while; gives the engine's library that goes with it."""
        path = self.tree / mutant.file
        before = path.read_text()
        path.write_text(before.replace(mutant.old, mutant.new))
        try:
            # Without CMake the tests that want the engine are skipped.
            yield self._build() if mutant.native and self._engine else self._engine
        finally:
            path.write_text(before)

    def pytest(
        self, tests: Sequence[str], timeout: float, *, first: bool, library: Path | None = None
    ) -> Outcome:
        """Run tests in the copy; with ``first`` no further than the first that fails.

        Raises :class:`subprocess.TimeoutExpired`.
        """
        told = self.folder / "outcome.json"
        told.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "PATH": self._path(),
            "PYTHONPATH": str(self.tree / "tests"),
            "PYTHONDONTWRITEBYTECODE": "1",  # a file may change twice in a second
            "MNISTKIT_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            outcome.VARIABLE: str(told),
        }
        if data := os.environ.get("MNISTKIT_DATA"):
            environment["MNISTKIT_DATA"] = str(Path(data).resolve())
        if library or self._engine:
            environment[ENGINE.variable] = str(library or self._engine)
        if self._runner:
            environment[RUNNER.variable] = str(self._runner)
        options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "mutants.outcome"]
        if first:
            options.append("-x")
        done = subprocess.run(
            [str(self._python), "-m", "pytest", *options, *tests],
            cwd=self.tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        tests_run = json.loads(told.read_text()) if told.is_file() else []
        return Outcome(done.returncode, tests_run, done.stdout + done.stderr)
