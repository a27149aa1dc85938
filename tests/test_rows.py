"""The rows' JSON: one place knows it, it is read as it was written, and odd keys are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mnistkit.backends.tolerances import SUMS
from mnistkit.common.errors import UsageError
from mnistkit.measure import compare
from mnistkit.measure.rows import BenchRow, LeftOut, ReferenceRow, VerifyReport, VerifyRow

REFERENCE = ReferenceRow("eager", "fp32", 0.99, 99, 100, None)
BENCH = BenchRow("c", "int8", "cpu", 1, 1, True, *([1.0] * 9), 3, [1.0, 2.0])


def measured() -> VerifyRow:
    reference = np.eye(10, dtype=np.float32)
    figures, faults = compare.compare(reference[::-1], reference, 10, np.arange(10), SUMS)
    return VerifyRow("c", "fp32", "cpu", False, "model-fp32.c", "failed", faults[0], figures)


ROWS = [
    measured(),
    VerifyRow("openvino", None, "cpu", True, None, "unavailable", "not installed"),
    REFERENCE,
    BENCH,
    LeftOut("openvino", "int8", True, "wrong"),
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_read_as_it_was_written(row: VerifyRow | ReferenceRow | BenchRow) -> None:
    text = json.dumps(row.to_json())
    assert type(row).from_json(json.loads(text)) == row


@pytest.mark.parametrize("row", ROWS)
def test_odd_keys_are_refused(row: VerifyRow | ReferenceRow | BenchRow) -> None:
    data = row.to_json()
    with pytest.raises(UsageError, match="colour"):
        type(row).from_json(data | {"colour": 1})
    for key in data:
        with pytest.raises(UsageError, match=key):
            type(row).from_json({name: value for name, value in data.items() if name != key})


def report(*rows: VerifyRow, named: list[str], reference: ReferenceRow = REFERENCE) -> VerifyReport:
    return VerifyReport({}, {}, {}, "digits", named, [reference], [], list(rows))


def test_what_decides() -> None:
    right = VerifyRow("c", "fp32", "cpu", False, "f", "ok", None)
    wrong = VerifyRow("openvino", "fp32", "cpu", True, "f", "failed", "off")
    assert report(right, named=[]).passed
    assert report(right, wrong, named=[]).passed
    assert report(right, wrong, named=["openvino"]).faults == ["openvino fp32: off"]
    assert not report(wrong, named=[]).compared
    assert not report(named=[]).passed
    odd = ReferenceRow("eager", "fp32", 0.5, 50, 100, "not what the manifest says")
    assert report(right, named=[], reference=odd).faults == [
        "reference eager fp32: not what the manifest says"
    ]


def test_the_report_keeps_the_keys_that_programs_read() -> None:
    made = report(measured(), named=["c"]).to_json()
    assert made["reference"] == {"backend": "eager", "precision": "fp32", "accuracy": 0.99}
    assert made["passed"] is False
    assert made["faults"][0].startswith("c fp32: ")
    (row,) = made["rows"]
    assert row["tolerance"] == 2e-4
    assert row["differing"][0]["label"] == 0
