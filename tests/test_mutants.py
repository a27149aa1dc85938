"""The list of mutants fits the sources, and the tool tells a killed one from a broken one.

Whether the tests kill them is another command: make mutants.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mutants.catalogue import FOLDER, CatalogueError, Mutant, chosen, fault, load, table
from mutants.judge import BROKEN, KILLED, NOT_JUDGED, SURVIVED, baseline, try_out
from mutants.outcome import broken
from mutants.workspace import Workspace

AREAS = {
    "artifact",
    "backends",
    "bench",
    "export",
    "format",
    "kernels",
    "preprocessing",
    "quantization",
    "rejection",
    "training",
    "verify",
}


def test_every_mutant_still_applies() -> None:
    """Where this fails the source has changed: give the same fault in the words of today."""
    assert {mutant.area for mutant in load()} >= AREAS
    faults = [why for why in map(fault, load()) if why]
    assert not faults, "\n".join(faults)


MODULE = """
def double(value):
    return 2 * value
"""
TESTS = """
import pytest
from mnistkit import doubling

@pytest.fixture
def four():
    return doubling.double(2)

def test_double():
    assert doubling.double(3) == 6

def test_one():
    assert doubling.double(1)

def test_four(four):
    assert four == 4

def test_never():
    pytest.skip("no such machine")
"""
CHANGES = {
    "killed": ("2 * value", "3 * value", "test_double", KILLED, "assert 9 == 6"),
    "survives": ("2 * value", "3 * value", "test_one", SURVIVED, "its 1 tests pass"),
    "no program": ("2 * value", "2 * valu", "test_double", BROKEN, "NameError"),
    "no syntax": ("2 * value", "2 * (value", "test_double", BROKEN, "exit code"),
    "no setup": ("2 * value", "2 / 0", "test_four", BROKEN, "an error before the test"),
    "no such test": ("2 * value", "3 * value", "test_ouble", BROKEN, "does not pass without"),
    "skipped": ("2 * value", "3 * value", "test_never", NOT_JUDGED, "no such machine"),
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository of one module, and a copy of it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed (Debian: apt-get install git)")
    root = tmp_path_factory.mktemp("repository")
    package, tests = root / "python" / "mnistkit", root / "tests"
    for folder in (package, tests / "mutants", root / "export"):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (root / "export" / "__init__.py").touch()
    (package / "doubling.py").write_text(MODULE)
    (tests / "test_doubling.py").write_text(TESTS)
    for name in ("__init__.py", "outcome.py"):
        shutil.copy(FOLDER / name, tests / "mutants" / name)
    subprocess.run(["git", "init", "-q", root], check=True)
    made = Workspace(root, tmp_path_factory.mktemp("copy"))
    made.prepare()
    return made


def mutant(name: str) -> Mutant:
    old, new, test, *_ = CHANGES[name]
    node = f"tests/test_doubling.py::{test}"
    return Mutant("area", name, "python/mnistkit/doubling.py", old, new, (node,))


@pytest.mark.parametrize("name", CHANGES)
def test_the_verdict(space: Workspace, name: str) -> None:
    one, (*_, word, why) = mutant(name), CHANGES[name]
    before = baseline(one, {one.tests[0]: space.pytest(one.tests, 60, first=False)})
    told = (before.word, before.why) if before else try_out(space, one, 60)
    assert told[0] == word
    assert why in told[1]
    assert (space.tree / one.file).read_text() == MODULE  # put back


def test_a_copy_is_made_equal_again(space: Workspace) -> None:
    (space.tree / "tests" / "left.py").write_text("left by a run that was stopped")
    changed = space.tree / "python" / "mnistkit" / "doubling.py"
    changed.write_text("changed")
    space.prepare()
    assert changed.read_text() == MODULE
    assert not (space.tree / "tests" / "left.py").exists()


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["cc", "-O2", "m.c"], True),
        (["/usr/bin/aarch64-linux-gnu-g++-12", "m.cpp"], True),
        (["/usr/bin/cmake", "--build", "."], True),
        (["python", "-m", "ziglang", "c++"], True),
        (["/tmp/digits"], False),
        (["qemu-aarch64", "digits"], False),
    ],
)
def test_a_program_that_is_not_built_kills_nothing(command: list[str], wanted: bool) -> None:
    assert broken(subprocess.CalledProcessError(1, command)) == wanted
    failed = pytest.fail.Exception(f"{' '.join(command)}: exit code 1")
    assert broken(failed) == wanted


def test_a_fault_of_the_list_says_what_to_do(tmp_path: Path) -> None:
    one = mutant("killed")
    assert "there is no python/mnistkit/doubling.py; has it moved?" in str(fault(one, tmp_path))
    (tmp_path / "python" / "mnistkit").mkdir(parents=True)
    (tmp_path / one.file).write_text(MODULE * 2)
    assert "occurs 2 times" in str(fault(one, tmp_path))
    (tmp_path / one.file).write_text(MODULE)
    assert "there is no tests/test_doubling.py" in str(fault(one, tmp_path))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_doubling.py").write_text("def test_other(): pass")
    assert "there is no test_double in tests/test_doubling.py" in str(fault(one, tmp_path))


def test_mutants_are_chosen_by_name_or_area() -> None:
    mutants = [mutant("killed"), mutant("survives")]
    assert chosen(mutants, []) == chosen(mutants, ["area"]) == mutants
    assert [one.name for one in chosen(mutants, ["survives"])] == ["survives"]
    with pytest.raises(CatalogueError, match="no mutant or area is called kill; areas: area"):
        chosen(mutants, ["kill"])
    assert "| area | killed | `python/mnistkit/doubling.py` |" in table(mutants)
