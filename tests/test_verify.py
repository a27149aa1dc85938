"""Verify says yes when runtimes agree, and no, with the place, when one does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from mnistkit.artifact.folder import Artifact, file_entry, write_manifest
from mnistkit.backends.tolerances import Tolerance
from mnistkit.common.errors import MissingError
from mnistkit.data.sets import ImageSet
from mnistkit.measure import compare
from mnistkit.measure import parity as verifying
from mnistkit.measure.references import reference_row
from onnx import numpy_helper

ROW = {
    "backend",
    "precision",
    "device",
    "status",
    "reason",
    "accuracy",
    "correct",
    "total",
    "agreement",
    "max_abs_diff",
    "mean_abs_diff",
    "tolerance",
}


def test_all_backends_agree(artifact: Artifact, digits_test: ImageSet) -> None:
    report = verifying.verify(artifact, digits_test, precisions=["fp32"])
    assert report.passed
    assert report.faults == []
    assert {"environment", "reference", "rows"} <= set(report.to_json())
    rows = [row for row in report.rows if row.figures]
    assert {"torchscript", "onnxruntime"} <= {row.backend for row in rows}
    for row in rows:
        assert set(row.to_json()) >= ROW
        assert row.figures is not None
        assert row.figures.agreement == 1.0
        assert row.figures.total == len(digits_test)
        assert row.figures.accuracy == row.figures.correct / row.figures.total
    for row in report.rows:
        assert (row.status == "ok") == (row.reason is None)


def test_half_precision_stays_inside_its_tolerance(
    artifact: Artifact, digits_test: ImageSet
) -> None:
    report = verifying.verify(artifact, digits_test, names=["onnxruntime"], precisions=["fp16"])
    (row,) = report.rows
    assert row.status == "ok"
    assert row.figures is not None
    assert row.figures.max_abs_diff > 0  # it is half precision, and not the fp32 file by mistake


def test_a_damaged_file_fails_and_is_named(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    path = folder / "model-fp32.torchscript"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    report = verifying.verify(
        Artifact.open(folder), digits_test, names=["torchscript"], precisions=["fp32"]
    )
    assert not report.passed
    (row,) = report.rows
    assert row.status == "failed"
    assert "model-fp32.torchscript" in str(row.reason)


def test_one_wrong_weight_under_a_right_hash_fails(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    path = folder / "model-fp32.onnx"
    model = onnx.load(path)
    weight = next(t for t in model.graph.initializer if t.name == "conv1_weight")
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    entries = [
        file_entry(path, entry.format, entry.precision) if entry.name == path.name else entry
        for entry in Artifact.open(folder).files
    ]
    write_manifest(folder, artifact.manifest, entries)
    report = verifying.verify(
        Artifact.open(folder), digits_test, names=["onnxruntime"], precisions=["fp32"]
    )
    assert not report.passed
    assert "from the reference" in str(report.rows[0].reason)


def test_a_precision_that_is_not_there_is_an_error(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    only = [entry for entry in artifact.files if entry.precision in ("fp32", "all")]
    write_manifest(folder, {**artifact.manifest, "precisions": ["fp32"]}, only)
    with pytest.raises(MissingError, match="--precision fp16"):
        verifying.verify(Artifact.open(folder), digits_test, precisions=["fp16"])


def test_the_standard_error_is_binomial() -> None:
    assert compare.standard_error(0.99, 10_000) == pytest.approx(0.000995, rel=1e-3)


@pytest.mark.parametrize(
    ("total", "differing", "passes"),
    [(497, 1, True), (497, 2, False), (10_000, 10, True), (10_000, 11, False)],
)
def test_agreement_is_in_whole_images(total: int, differing: int, passes: bool) -> None:
    """One image at a tie does not fail a small test set; 10,000 have what the tolerance says."""
    reference = np.zeros((total, 10), np.float32)
    reference[:, 3] = 0.01
    logits = reference.copy()
    logits[:differing, 4] = 0.02
    labels = np.full(total, 4)  # so that accuracy does not fall
    tolerance = Tolerance(0.1, "test", agreement=0.999)
    _, faults = compare.compare(logits, reference, 0, labels, tolerance)
    assert (not faults) == passes
    assert passes or "of the digits agree, 99.90% is wanted" in faults[0]


@pytest.mark.parametrize(("lost", "passes"), [(1, True), (2, False)])
def test_a_reference_may_not_fall_under_fp32(
    artifact: Artifact, digits_test: ImageSet, lost: int, passes: bool
) -> None:
    """Its golden digits are right: it is the images of the test set that tell."""
    logits = np.eye(10, dtype=np.float32)[digits_test.labels.numpy()]
    logits[:lost] = np.roll(logits[:lost], 1, axis=1)
    row = reference_row(artifact, "int8", logits, len(digits_test), digits_test)
    assert row.correct == len(digits_test) - lost
    assert (row.reason is None) == passes
    assert passes or "accuracy falls by 0.40%, 0.20% is allowed" in str(row.reason)
