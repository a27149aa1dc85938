"""Everything that needs a GPU: ``make test-gpu``. Skips, with the reason, what cannot run.

Writes one JSON with all figures, ``out/gpu.json`` or what ``$MNISTKIT_GPU_JSON`` names;
``python -m mnistkit.measure.gpu_check`` does the same without pytest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mnistkit.common.errors import MissingError
from mnistkit.measure import gpu_check as check
from mnistkit.measure.gpu_parts import PARTS, Setup
from mnistkit.tensorrt import probe

pytestmark = pytest.mark.gpu
ROWS: list[dict[str, Any]] = []


@pytest.fixture(scope="module")
def setup(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    """The pretrained flagship with its plans; where there is none, the tests' own small net."""
    if reason := probe.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("gpu") / "out"
    try:
        made = check.prepare(folder, os.environ.get("MNISTKIT_GPU_MODEL"), "")
    except MissingError:
        made = check.prepare(folder, str(request.getfixturevalue("run")), "")
    yield made
    out = Path(os.environ.get("MNISTKIT_GPU_JSON", "out/gpu.json"))
    check.write(out, check.report(ROWS, made))


@pytest.mark.parametrize("part", PARTS)
def test_part(setup: Setup, part: str) -> None:
    row = check.run_part(part, setup)
    ROWS.append(row)
    if row["status"] == "missing":
        pytest.skip(row["reason"])
    assert row["status"] == "ok", row["reason"]
