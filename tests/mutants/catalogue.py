"""The list of mutants: read from the ``*.toml`` files here, and checked against the sources."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
_KEYS = {"name", "file", "old", "new", "tests"}


class CatalogueError(Exception):
    """A list of mutants that cannot be read, or a name that is in none of them."""


@dataclass(frozen=True)
class Mutant:
    """One fault: in ``file`` the text ``old``, which stands there once, becomes ``new``.

    ``tests`` are pytest node ids, from the repository's root; one of them must fail.
    """

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def native(self) -> bool:
        """Whether the engine is to be compiled again."""
        return self.file.startswith(("cpp/engine/", "cpp/include/"))


def load(folder: Path = FOLDER) -> list[Mutant]:
    """Every mutant, area by area."""
    found: list[Mutant] = []
    for path in sorted(folder.glob("*.toml")):
        for number, row in enumerate(tomllib.loads(path.read_text())["mutant"], start=1):
            if set(row) != _KEYS:
                raise CatalogueError(
                    f"{path.name}, mutant {number}: has the keys {', '.join(sorted(row))}; "
                    f"wanted {', '.join(sorted(_KEYS))}"
                )
            row["tests"] = tuple(row["tests"])
            found.append(Mutant(path.stem, **row))
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CatalogueError(f"two mutants have the name {', '.join(twice)}")
    return found


def chosen(mutants: Sequence[Mutant], only: Sequence[str]) -> list[Mutant]:
    """The mutants whose name or area is in ``only``; all of them where it is empty."""
    known = {one.name for one in mutants} | {one.area for one in mutants}
    if unknown := sorted(set(only) - known):
        areas = ", ".join(sorted({one.area for one in mutants}))
        raise CatalogueError(
            f"no mutant or area is called {', '.join(unknown)}; areas: {areas}; "
            f"--list has the names"
        )
    return [one for one in mutants if not only or {one.name, one.area} & set(only)]


def fault(mutant: Mutant, root: Path = ROOT) -> str | None:
    """Why a mutant cannot be applied, or its tests cannot be run; None where it can."""
    path = root / mutant.file
    where = f"tests/mutants/{mutant.area}.toml, mutant {mutant.name!r}"
    if not path.is_file():
        return f"{where}: there is no {mutant.file}; has it moved?"
    count = path.read_text().count(mutant.old)
    if count != 1:
        return (
            f"{where}: its text occurs {count} times in {mutant.file}, wanted once; give the same "
            f"fault again in the words that stand there now. The text is:\n{mutant.old}"
        )
    if mutant.new == mutant.old or not mutant.tests:
        return f"{where}: it changes nothing, or names no test"
    for test in mutant.tests:
        file, _, name = test.partition("::")
        if not (root / file).is_file():
            return f"{where}: there is no {file}; name a test that kills it"
        if name.partition("[")[0] not in _tests(root / file):
            return f"{where}: there is no {name} in {file}; name a test that kills it"
    return None


@functools.cache
def _tests(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def table(mutants: Iterable[Mutant]) -> str:
    """The mutants as a table in Markdown."""
    lines = ["| area | mutant | file | killed by |", "|---|---|---|---|"]
    for one in mutants:
        tests = ", ".join(dict.fromkeys(f"`{t.removeprefix('tests/')}`" for t in one.tests))
        lines.append(f"| {one.area} | {one.name} | `{one.file}` | {tests} |")
    return "\n".join(lines)
