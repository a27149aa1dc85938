"""What bench and verify say is what was measured: percentiles, warm-up, wrong answers, faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mnistkit.artifact.folder import Artifact, file_entry, write_manifest
from mnistkit.backends.onnxruntime import _OrtPredictor
from mnistkit.common.errors import CheckError
from mnistkit.data.sets import ImageSet
from mnistkit.measure import latency as benching
from mnistkit.measure import parity as verifying
from onnx import numpy_helper

ONE = {"names": ["onnxruntime"], "precisions": ["fp32"]}


def test_percentiles_are_those_of_the_samples(artifact: Artifact) -> None:
    figures = benching.bench(
        artifact, **ONE, batch_sizes=(1, 3), duration=0.004, warmup=0.05
    ).to_json()
    assert len(figures["rows"]) == 4
    for row in figures["rows"]:
        raw = np.array(row["raw_us"])
        assert len(raw) == row["samples"] >= 12  # so few that the row lists them all
        for name, percent in (("p50_us", 50), ("p90_us", 90), ("p95_us", 95), ("p99_us", 99)):
            assert row[name] == pytest.approx(np.percentile(raw, percent), abs=0.01), name
        assert row["mean_us"] == pytest.approx(raw.mean(), abs=0.01)
        assert row["cv"] == pytest.approx(raw.std() / raw.mean(), rel=1e-3)
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["p50_us"] * 1e6)


def test_warm_up_is_run_and_not_counted(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of rows run their own call, the warm-up beside what is counted."""
    calls = {"bound": 0, "logits": 0}
    bind, logits = _OrtPredictor.bind, _OrtPredictor.logits

    def counting(self: _OrtPredictor, images: Any) -> Callable[[], Any]:
        run = bind(self, images)

        def call() -> Any:
            calls["bound"] += 1
            return run()

        return call

    def counted(self: _OrtPredictor, images: Any) -> Any:
        calls["logits"] += 1
        return logits(self, images)

    monkeypatch.setattr(_OrtPredictor, "bind", counting)
    monkeypatch.setattr(_OrtPredictor, "logits", counted)
    figures = benching.bench(
        artifact, **ONE, batch_sizes=(1,), duration=0.012, warmup=0.3
    ).to_json()
    rows = {row["end_to_end"]: row for row in figures["rows"]}
    for end_to_end, made in ((False, calls["bound"]), (True, calls["logits"])):
        row = rows[end_to_end]
        # The warm-up is 25 times as long as what is counted; a busy machine may cut it short.
        assert made > row["samples"] + 20
        assert made > 3 * row["samples"]


def test_a_sample_is_a_call_in_microseconds() -> None:
    import time

    samples: list[float] = []
    benching._run_for(lambda: time.sleep(0.005), 0.02, samples)
    assert 1 <= len(samples) <= 4
    assert all(5_000 <= sample < 1_000_000 for sample in samples)


@pytest.mark.parametrize("off", [0.5, -0.5])
def test_answers_that_are_off_to_either_side_are_not_timed(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    """Every digit is right; every logit is off by the same."""
    right = _OrtPredictor._run
    monkeypatch.setattr(_OrtPredictor, "_run", lambda self, images: right(self, images) + off)
    with pytest.raises(
        CheckError,
        match=r"onnxruntime fp32: differs from the reference at batch 1: a logit is 0\.5",
    ):
        benching.bench(artifact, **ONE, batch_sizes=(1,), duration=0.01)


def shifted(artifact: Artifact, folder: Path, by: float, digits: int = 10) -> Artifact:
    """A copy whose fp32 ONNX file gives logits, of the first digits, that are larger by that."""
    shutil.copytree(artifact.path, folder)
    path = folder / "model-fp32.onnx"
    model = onnx.load(path)
    last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == last.input[2])
    values = numpy_helper.to_array(bias).copy()
    values[:digits] += np.float32(by)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(model, path)
    entries = [
        file_entry(path, one.format, one.precision) if one.name == path.name else one
        for one in artifact.files
    ]
    write_manifest(folder, artifact.manifest, entries)
    return Artifact.open(folder)


@pytest.mark.parametrize(("by", "passes"), [(0.0, True), (0.01, False), (-0.01, False)])
def test_logits_that_are_off_to_either_side_do_not_pass(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, by: float, passes: bool
) -> None:
    wrong = shifted(artifact, tmp_path / "wrong", by)
    figures = verifying.verify(wrong, digits_test, **ONE).to_json()
    (row,) = figures["rows"]
    assert row["max_abs_diff"] == pytest.approx(abs(by), abs=1e-4)
    assert row["mean_abs_diff"] == pytest.approx(abs(by), abs=1e-4)
    assert row["agreement"] == 1.0
    assert (row["status"] == "ok") == figures["passed"] == passes


def test_the_worst_logit_decides(artifact: Artifact, digits_test: ImageSet, tmp_path: Path) -> None:
    """One logit of ten is off by more than is allowed, and the mean by less; nobody was named."""
    wrong = shifted(artifact, tmp_path / "wrong", 0.001, digits=1)
    figures = verifying.verify(wrong, digits_test, precisions=["fp32"], threads=1).to_json()
    (row,) = (row for row in figures["rows"] if row["backend"] == "onnxruntime")
    assert row["mean_abs_diff"] < row["tolerance"] < row["max_abs_diff"]
    assert not figures["passed"]
