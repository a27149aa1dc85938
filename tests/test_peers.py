"""A peer that is wrong is shown as wrong; it decides nothing unless it was asked for by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from damage import negated, with_model
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Predictor
from mnistkit.backends.onnxruntime import OnnxRuntimeBackend
from mnistkit.cli import app as cli
from mnistkit.cli import tables as report
from mnistkit.common.errors import ArtifactError, CheckError, MissingError, MnistkitError
from mnistkit.data.sets import ImageSet
from mnistkit.export import onnx, torchscript
from mnistkit.measure import latency as benching
from mnistkit.measure import parity as verifying
from mnistkit.measure.rows import VerifyReport
from typer.testing import CliRunner

QUICK: dict[str, Any] = {"batch_sizes": (1,), "duration": 0.03, "warmup": 0.0}
QUICK_OPTIONS = ("--batch", "1", "--duration", "0.03", "--warmup", "0")


@pytest.fixture
def peer() -> None:
    if reason := backends.get("openvino").available():
        pytest.skip(reason)


@pytest.fixture
def wrong_for_the_peer(
    peer: None, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Artifact:
    """A wrong ONNX int8 file, on a machine that has no other reader of it than OpenVINO."""
    monkeypatch.setattr(OnnxRuntimeBackend, "available", lambda self: "not installed (test)")
    data = onnx.render(negated(artifact), "int8")
    return with_model(artifact, tmp_path / "wrong", "onnx", data, edition=2)


@pytest.fixture
def wrong_for_ours(artifact: Artifact, tmp_path: Path) -> Artifact:
    """A wrong TorchScript int8 file."""
    data = torchscript.render(negated(artifact), "int8")
    return with_model(artifact, tmp_path / "ours", "torchscript", data, edition=2)


def test_openvino_is_the_peer() -> None:
    assert [one.name for one in backends.all_backends() if one.is_peer] == ["openvino"]


def test_a_wrong_peer_does_not_fail_the_run(
    wrong_for_the_peer: Artifact, digits_test: ImageSet
) -> None:
    figures = verifying.verify(wrong_for_the_peer, digits_test, precisions=["int8"], threads=1)
    rows = {row.backend: row for row in figures.rows}
    assert rows["openvino"].status == "failed"
    assert {name for name, row in rows.items() if row.peer} == {"openvino"}
    assert figures.passed
    names, _, status = (list(each.cells) for each in report.verify_table(figures).columns[:3])
    assert status[names.index("openvino")] == "wrong (peer)"
    (line,) = [text for text in report.verify_lines(figures) if text.startswith("wrong (peer)")]
    assert "openvino int8: model-int8.onnx: a logit is" in line
    assert "suspect the file or the runtime" in line


def test_a_wrong_peer_that_was_named_fails_the_run(
    wrong_for_the_peer: Artifact, digits_test: ImageSet
) -> None:
    figures = verifying.verify(
        wrong_for_the_peer, digits_test, names=["reference", "openvino"], precisions=["int8"]
    )
    assert not figures.passed
    assert any(text.startswith("failed: openvino int8: ") for text in report.verify_lines(figures))
    assert "wrong (peer)" not in list(report.verify_table(figures).columns[2].cells)


def test_a_peer_alone_proves_nothing(wrong_for_the_peer: Artifact, digits_test: ImageSet) -> None:
    """With nothing that is right beside it, a wrong peer is no pass."""
    assert not verifying.verify(
        wrong_for_the_peer, digits_test, names=["openvino"], precisions=["int8"]
    ).passed


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, [str(one) for one in arguments])
    return done.exit_code, done.output


def test_the_exit_codes_of_verify(wrong_for_the_peer: Artifact, tmp_path: Path) -> None:
    common = ("verify", wrong_for_the_peer.path, "--dataset", "digits", "--precision", "int8")
    code, text = run(*common, "--json", tmp_path / "v.json")
    assert code == 0, text
    assert "wrong (peer): openvino int8" in text
    assert json.loads((tmp_path / "v.json").read_text())["passed"] is True
    # The floor is for what counts as well: the peer's accuracy is far below it here.
    assert run(*common, "--min-accuracy", "0.5")[0] == 0
    code, text = run(*common, "--backend", "openvino")
    assert code == 1, text
    assert "failed: openvino int8" in text


def test_an_accuracy_of_nought_is_below_the_floor(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = verifying.verify

    def none_right(*given: Any, **settings: Any) -> VerifyReport:
        found = right(*given, **settings)
        (row,) = found.rows
        assert row.figures is not None
        none = dataclasses.replace(row.figures, accuracy=0.0)
        return dataclasses.replace(found, rows=[dataclasses.replace(row, figures=none)])

    monkeypatch.setattr(verifying, "verify", none_right)
    code, text = run(
        *("verify", artifact.path, "--dataset", "digits", "--backend", "onnxruntime"),
        *("--precision", "int8", "--min-accuracy", "0.5"),
    )
    assert code == 1
    assert "below 50.00%" in text


def test_a_peer_that_breaks_is_wrong(
    peer: None, artifact: Artifact, digits_test: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer's own exceptions are findings; ours are bugs, and come through."""

    def breaks(*_: object, **__: object) -> Predictor:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(type(backends.get("openvino")), "load", breaks)
    figures = verifying.verify(artifact, digits_test, precisions=["int8"], threads=1)
    (row,) = [row for row in figures.rows if row.backend == "openvino"]
    assert row.status == "failed"
    assert row.reason == "RuntimeError: could not create a primitive"
    assert figures.passed
    monkeypatch.setattr(type(backends.get("torchscript")), "load", breaks)
    with pytest.raises(RuntimeError, match="primitive"):
        verifying.verify(artifact, digits_test, names=["torchscript"], precisions=["int8"])


def test_bench_leaves_a_wrong_peer_out(wrong_for_the_peer: Artifact) -> None:
    figures = benching.bench(wrong_for_the_peer, precisions=["int8"], **QUICK)
    assert {row.backend for row in figures.rows} >= {"torchscript"}
    assert "openvino" not in {row.backend for row in figures.rows}
    (wrong,) = figures.wrong
    assert (wrong.backend, wrong.precision, wrong.peer) == ("openvino", "int8", True)
    assert "openvino int8 fails its self-check" in wrong.reason
    assert any(
        line.startswith("wrong (peer): openvino int8: ") and "self-check" in line
        for line in report.bench_lines(figures)
    )
    code, text = run("bench", wrong_for_the_peer.path, "--precision", "int8", *QUICK_OPTIONS)
    assert code == 0, text
    assert "wrong (peer): openvino int8" in text


def test_bench_times_nothing_where_a_named_one_is_wrong(
    wrong_for_the_peer: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(*_: object) -> None:
        raise AssertionError("something was timed")

    monkeypatch.setattr(benching, "_run_for", timed)
    with pytest.raises(CheckError, match="openvino int8 fails its self-check"):
        benching.bench(
            wrong_for_the_peer, names=["torchscript", "openvino"], precisions=["int8"], **QUICK
        )


def test_bench_measures_the_rest_where_one_of_ours_is_wrong(
    wrong_for_ours: Artifact, tmp_path: Path
) -> None:
    code, text = run(
        *("bench", wrong_for_ours.path, "--precision", "int8", "--json", tmp_path / "b.json"),
        *QUICK_OPTIONS,
    )
    assert code == 1
    assert "not timed, because the answers are wrong: torchscript int8" in text
    figures = json.loads((tmp_path / "b.json").read_text())
    assert {row["backend"] for row in figures["rows"]} >= {"onnxruntime"}
    assert "engine p50 µs" in text  # the table was printed
    wrong = {one["backend"]: one for one in figures["wrong"]}
    assert not wrong["torchscript"]["peer"]
    if "libtorch" in wrong:  # its own check found it, in the fresh process
        assert "self-check" in wrong["libtorch"]["reason"]
        assert "of edition 2" in wrong["libtorch"]["reason"]
    assert "torchscript" not in {row["backend"] for row in figures["rows"]}


def test_bench_with_nothing_right_says_so(
    wrong_for_ours: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in backends.NAMES:
        if name not in ("torchscript", "reference"):
            kind = type(backends.get(name))
            monkeypatch.setattr(kind, "available", lambda self: "not installed (test)")
    with pytest.raises(CheckError, match="nothing that answers rightly is left to measure"):
        benching.bench(wrong_for_ours, precisions=["int8"], **QUICK)


def test_what_is_missing_is_listed_unless_it_was_named(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: object, **__: object) -> Predictor:
        raise MissingError("the library of it is gone")

    monkeypatch.setattr(OnnxRuntimeBackend, "load", lacks)
    figures = benching.bench(artifact, precisions=["int8"], **QUICK)
    listed = [one for one in figures.unavailable if one.backend == "onnxruntime"]
    assert [one.reason for one in listed] == ["the library of it is gone"]
    assert not figures.wrong
    with pytest.raises(MissingError, match="onnxruntime int8: the library of it is gone"):
        benching.bench(artifact, names=["onnxruntime"], precisions=["int8"], **QUICK)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "Illegal instruction"),
        ("import sys; sys.exit('no room')", "(exit code 1): no room"),
    ],
)
def test_a_fresh_process_that_dies_is_an_error_that_says_how(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    monkeypatch.setattr(benching, "_PROBE", program)
    with pytest.raises(MnistkitError) as caught:
        benching.bench(artifact, names=["onnxruntime"], precisions=["int8"], **QUICK)
    assert message in str(caught.value)
    assert "16 bits" not in str(caught.value)  # the CPU's additions kill no process


def test_an_error_of_the_fresh_process_keeps_its_kind(wrong_for_ours: Artifact) -> None:
    path = wrong_for_ours.path / "model-int8.torchscript"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="truncated or altered") as caught:
        benching.bench(wrong_for_ours, names=["torchscript"], precisions=["int8"], **QUICK)
    assert "16 bits" not in str(caught.value)
