"""Every backend in a child of fork(): a clear error or right answers, and nothing hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mnistkit import backends
from mnistkit.artifact.folder import Artifact

PROGRAM = Path(__file__).parent / "fork_program.py"
NAMES = [b.name for b in backends.all_backends() if not b.refuses(b.precisions[0], "cpu")]
OPENMP = ("eager", "torchscript", "libtorch")  # their threads do not come along

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


def told(artifact: Artifact, name: str, what: str) -> list[list[Any]]:
    """What the program prints; it and its children are killed after a while."""
    backend = backends.get(name)
    if reason := backend.available():
        pytest.skip(f"{name}: {reason}")
    if (backend.format, "int8" if name == "reference" else "fp32") not in artifact.formats():
        pytest.skip(f"{name}: the test artifact holds no {backend.format}")
    command = [sys.executable, "-W", "ignore", str(PROGRAM), str(artifact.path), name, what]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    ) as program:
        try:
            out, errors = program.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            pytest.fail(f"it hangs: {program.communicate()}")
    assert program.returncode == 0, out + errors
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines.pop() == ["parent", "goes on"]
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_a_predictor_of_the_parent_is_refused(artifact: Artifact, name: str) -> None:
    lines = {line[0]: line[1:] for line in told(artifact, name, "inherits")}
    assert list(lines) == ["logits", "none", "bound", "bind", "close", "dropped"]
    for call in ("logits", "none", "bound", "bind"):
        kind, text = lines[call]
        assert kind == "UsageError", (call, text)
        assert "this predictor was loaded by process" in text
        assert "load it again here" in text
    assert lines["close"] == ["ok", True]
    assert lines["dropped"] == ["ok", "gone"]


@pytest.mark.parametrize("name", NAMES)
def test_a_child_loads_its_own(artifact: Artifact, name: str) -> None:
    """After the parent's runtime has run with two threads."""
    for threads, kind, text in told(artifact, name, "loads"):
        if name == "openvino":  # a child that loads one hangs now and then
            assert kind == "UsageError"
            assert "was forked after OpenVINO had run" in text
            assert "start processes by 'spawn'" in text
        elif threads == 2 and name in OPENMP:
            assert kind == "UsageError"
            assert "threads: got 2, and this process" in text
            assert "Ask for 0 or 1, start processes by 'spawn'" in text
        else:
            assert [kind, text] == ["ok", "same"], threads


@pytest.mark.parametrize("name", NAMES)
def test_workers_of_a_server(artifact: Artifact, name: str) -> None:
    if name == "openvino":
        pytest.skip("openvino: its children are refused, as test_a_child_loads_its_own shows")
    assert told(artifact, name, "workers") == [["worker", "same", 0]] * 2


@pytest.mark.parametrize("name", NAMES)
def test_workers_of_a_data_loader(artifact: Artifact, name: str) -> None:
    loads, inherits = told(artifact, name, "data loader")
    if name == "openvino":
        assert "was forked after OpenVINO had run" in loads[1]
    else:
        assert loads == ["loads", "same"]
    assert inherits[0] == "inherits"
    assert "this predictor was loaded by process" in inherits[1]
