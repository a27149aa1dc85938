"""A pytest plugin: writes what became of each test, and by which kind of error, to a JSON file."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "MNISTKIT_MUTANTS_OUTCOME"

# A fault that a test finds shows in its figures or in an error of the package. These are the
# errors of a program that cannot run at all.
_NO_PROGRAM = (ImportError, SyntaxError, NameError, AttributeError, TypeError)
_BUILDERS = re.compile(r"(^|-)(cc|c\+\+|gcc|g\+\+|clang|clang\+\+|cmake|ninja|ld)(-[\d.]+)?$")
_found: list[dict[str, Any]] = []


def broken(error: BaseException) -> bool:
    """Whether an error says that a program was not built or cannot run, not that it is wrong."""
    if isinstance(error, subprocess.CalledProcessError):
        command = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd))
    elif isinstance(error, pytest.fail.Exception):
        command = str(error)  # cpp_build.run begins its message with the command
    else:
        return isinstance(error, _NO_PROGRAM) or "was not built" in str(error)
    words = command.split()
    return bool(words and _BUILDERS.search(Path(words[0]).name)) or "-m ziglang" in command


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.outcome != "passed":
        entry: dict[str, Any] = {
            "test": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
        }
        if report.failed and call.excinfo is not None:
            error = call.excinfo.value
            last = (str(error).strip().splitlines() or [""])[0]
            entry["error"] = f"{type(error).__name__}: {last}"[:200]
            entry["broken"] = broken(error)
        elif report.skipped and isinstance(report.longrepr, tuple):
            entry["error"] = report.longrepr[2]
        _found.append(entry)
    return report


def pytest_sessionfinish() -> None:
    Path(os.environ[VARIABLE]).write_text(json.dumps(_found))
