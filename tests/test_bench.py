"""Bench measures only what is right, and reports it whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mnistkit.artifact.folder import Artifact
from mnistkit.cli import app as cli
from mnistkit.cli import tables as report
from mnistkit.common.errors import CheckError, UsageError
from mnistkit.export.writer import export
from mnistkit.measure import latency as benching
from mnistkit.runs.source import Source
from typer.testing import CliRunner

ROW = {
    "backend",
    "precision",
    "device",
    "batch",
    "threads",
    "p50_us",
    "p90_us",
    "p95_us",
    "p99_us",
    "mean_us",
    "cv",
    "images_per_second",
    "load_ms",
    "peak_rss_mb",
    "end_to_end",
    "raw_us",
}


def test_rows_are_whole_and_in_order(artifact: Artifact, tmp_path: Path) -> None:
    figures = benching.bench(
        artifact,
        names=["onnxruntime"],
        precisions=["fp32"],
        batch_sizes=(1, 16),
        duration=0.05,
        warmup=0.01,
    )
    assert [(row.batch, row.end_to_end) for row in figures.rows] == [
        (1, False),
        (1, True),
        (16, False),
        (16, True),
    ]
    for row in figures.rows:
        assert set(row.to_json()) >= ROW
        assert 0 < row.p50_us <= row.p90_us <= row.p95_us <= row.p99_us
        assert row.images_per_second == pytest.approx(row.batch / row.p50_us * 1e6)
        assert row.load_ms > 0
        assert row.peak_rss_mb > 20
        assert 0 < len(row.raw_us) <= 250
    assert figures.environment["processor"]
    report.bench_table(figures)
    report.bench_plot(figures, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_runtime_that_answers_wrongly_is_not_timed(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistkit.backends.onnxruntime import _OrtPredictor

    right = _OrtPredictor._run
    monkeypatch.setattr(_OrtPredictor, "_run", lambda self, images: -right(self, images))
    with pytest.raises(CheckError, match="onnxruntime fp32: differs from the reference"):
        benching.bench(artifact, names=["onnxruntime"], precisions=["fp32"], duration=0.05)


@pytest.mark.parametrize(
    "settings", [{"batch_sizes": ()}, {"batch_sizes": (0,)}, {"duration": 0}, {"warmup": -1}]
)
def test_bad_settings_are_refused(artifact: Artifact, settings: dict) -> None:
    with pytest.raises(UsageError):
        benching.bench(artifact, **settings)


def test_the_roofline_is_measured_beside_the_rows(artifact: Artifact) -> None:
    from mnistkit import backends

    if reason := backends.get("engine").available():
        pytest.skip(reason)
    figures = benching.bench(
        artifact,
        names=["engine"],
        precisions=["int8", "fp32"],
        batch_sizes=(1,),
        duration=0.05,
        warmup=0.01,
        roofline=True,
    )
    found = figures.roofline
    assert found is not None
    assert found["empty_call_us"] > 0
    text = report.roofline_text(found)
    if found["kernels"] in ("vector128", "portable", "reference"):
        assert "not measured" in text
        return
    peaks = found["multiply_adds_per_second"]
    assert peaks["int8"] > peaks["fp32"] > 1e9
    for row in figures.rows:
        share = artifact.manifest["multiply_adds"] / row.p50_us * 1e6 / peaks[row.precision]
        assert row.share_of_peak == pytest.approx(share)
        assert 0 < row.share_of_peak < 1.5  # the machine's clock may change on the way
    assert "G multiply-adds/s in int8" in text
    assert report.bench_table(figures).columns[-1].header == "of peak"


def test_a_folder_with_onnx_in_fp32_alone_is_measured(source: Source, tmp_path: Path) -> None:
    """What the folder does not hold is listed, and the command ends well."""
    out = export(source, tmp_path / "out", ["onnx"], ["fp32"])
    done = CliRunner().invoke(
        cli.app,
        [
            *("bench", str(out), "--batch", "1", "--duration", "0.03", "--warmup", "0"),
            *("--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.png")),
        ],
    )
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "b.json").read_text())
    assert {row["precision"] for row in figures["rows"]} == {"fp32"}
    assert "onnxruntime" in {row["backend"] for row in figures["rows"]}
    absent = {one["backend"]: one["reason"] for one in figures["unavailable"]}
    assert "holds no torchscript" in absent["torchscript"]
    assert "unavailable: torchscript: the artifact holds no torchscript" in done.output
    assert "c" not in absent  # timed where it is named


def test_the_c_export_is_timed_where_it_is_named(artifact: Artifact) -> None:
    from mnistkit import backends

    if reason := backends.get("c").available():
        pytest.skip(reason)
    figures = benching.bench(
        artifact, names=["c"], precisions=["int8"], batch_sizes=(1,), duration=0.03, warmup=0.0
    )
    assert [row.backend for row in figures.rows] == ["c", "c"]
