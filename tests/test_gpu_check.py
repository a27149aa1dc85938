"""The program behind ``make test-gpu``, on a pretended GPU: it runs, and it notices what is wrong.

What it finds on a real GPU is another matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeMemory, World, digits_of
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.tolerances import CUDA
from mnistkit.backends.trt import memory, predictor
from mnistkit.backends.trt.predictor import TensorRtPredictor
from mnistkit.common.errors import CheckError, MissingError
from mnistkit.data.sets import ImageSet
from mnistkit.measure import gpu_check as check
from mnistkit.measure import gpu_parts as check_parts
from mnistkit.measure.gpu_parts import PARTS, Setup
from mnistkit.measure.rows import VerifyReport, VerifyRow
from mnistkit.tensorrt import probe
from test_gpu_logic import Fixture


class FakeSetup(Setup):
    """Loads the fake plan, whatever flavour and precision are asked for."""

    def __init__(self, artifact: Artifact, digits: ImageSet, fake: Fixture) -> None:
        super().__init__(artifact.path, digits, {})
        self.fake = fake

    def precisions(self, flavor: str) -> list[str]:
        return ["fp16", "int8"]

    def load(self, flavor: str, precision: str, **options: Any) -> TensorRtPredictor:
        return self.fake.load(graphs=options.get("graphs", True))


@pytest.fixture
def setup(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeSetup:
    fake = Fixture(tmp_path / "model.engine", monkeypatch)
    monkeypatch.setattr(
        check_parts, "open_memory", lambda device, name: FakeMemory(fake.world, True)
    )
    return FakeSetup(artifact, digits_test, fake)


@pytest.mark.parametrize(
    "part", ["driver", "tensorrt threads", "tensorrt batches", "tensorrt graphs"]
)
def test_parts_run_on_the_fake(setup: FakeSetup, part: str) -> None:
    row = check.run_part(part, setup)
    assert row["status"] == "ok", row["reason"]
    assert row["figures"]
    json.dumps(row)


def spoiled(predictor: TensorRtPredictor, images: Any) -> Any:
    """Logits that depend on the batch's size, as those of a wrong buffer do."""
    logits = digits_of(np.asarray(images))
    logits[:, 0] += len(images)
    return logits


@pytest.mark.parametrize("part", ["tensorrt batches"])
def test_wrong_results_fail(setup: FakeSetup, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TensorRtPredictor, "logits", spoiled)
    row = check.run_part(part, setup)
    assert row["status"] == "failed"
    assert "logits differ" in row["reason"]


def test_graphs_that_are_never_replayed_fail(
    setup: FakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnistkit.backends.trt.slot.GRAPH_SIZES", 0)
    row = check.run_part("tensorrt graphs", setup)
    assert row["status"] == "failed"
    assert "recorded sizes" in row["reason"]


def test_a_predictor_that_works_in_any_thread_fails(
    setup: FakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "threading", SimpleNamespace(get_ident=lambda: 1))
    row = check.run_part("tensorrt threads", setup)
    assert row["status"] == "failed"
    assert "0 were refused" in row["reason"]


LAYER = {"Name": "conv0", "LayerType": "correlation", "Inputs": [{"Datatype": "Int8"}]}
FLOAT = {"Name": "conv1", "LayerType": "CaskConvolution", "Inputs": [{"Format": "Half"}]}
OTHER = {"Name": "pool", "LayerType": "kgen", "Inputs": []}


@pytest.mark.parametrize(
    ("layers", "status"),
    [([LAYER, OTHER], "ok"), ([LAYER, FLOAT], "failed"), ([OTHER], "failed"), ([], "failed")],
)
def test_convolutions_in_float_are_seen(
    setup: FakeSetup, monkeypatch: pytest.MonkeyPatch, layers: list[Any], status: str
) -> None:
    listing = json.dumps({"Layers": layers})
    monkeypatch.setattr(TensorRtPredictor, "layer_information", lambda _: listing)
    assert check.run_part("tensorrt layers", setup)["status"] == status


@pytest.mark.parametrize("step", ["", "upload", "buffer", "stream"])
def test_the_round_trip_gives_back_what_it_took(step: str) -> None:
    world = World()
    opened = FakeMemory(world)
    if step:
        world.fail[step] = 1
    with opened.current():
        if step:
            with pytest.raises(CheckError, match="pretended failure"):
                check_parts._round_trips(opened, 4096)
        else:
            check_parts._round_trips(opened, 4096)
    opened.close()
    assert world.live == set()


def test_a_copy_that_loses_bytes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = FakeMemory(World())
    monkeypatch.setattr(opened, "download", lambda *_: None)
    with opened.current(), pytest.raises(CheckError, match="bytes changed"):
        check_parts._round_trips(opened, 64)


def verified(rows: dict[str, Any]) -> Callable[..., VerifyReport]:
    def run(artifact: Any, digits: Any, *, names: list[str], device: str) -> VerifyReport:
        assert device == "cuda"
        found = rows[names[0]]
        if isinstance(found, Exception):
            raise found
        reason = "why" if found != "ok" else None
        row = VerifyRow(names[0], "fp32", device, False, "model-fp32.onnx", found, reason)
        return VerifyReport({}, {}, {}, "digits", names, [], [], [row])

    return run


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ({"eager": "ok", "libtorch": MissingError("not compiled")}, None),
        ({"eager": "ok", "libtorch": "unavailable"}, None),
        ({"eager": "ok", "libtorch": "failed"}, CheckError),
        ({"eager": MissingError("no CUDA"), "libtorch": "unavailable"}, MissingError),
    ],
)
def test_one_library_without_cuda_does_not_hide_the_others(
    setup: FakeSetup,
    monkeypatch: pytest.MonkeyPatch,
    rows: dict[str, Any],
    error: type[Exception] | None,
) -> None:
    monkeypatch.setattr(check_parts, "verify", verified(rows))
    if error:
        with pytest.raises(error):
            check_parts.cuda_against_cpu(tuple(rows), setup)
        return
    figures = check_parts.cuda_against_cpu(tuple(rows), setup)
    assert [row["backend"] for row in figures["rows"]] == ["eager"]
    assert list(figures["missing"]) == ["libtorch"]


def test_the_report_is_one_json(setup: FakeSetup, tmp_path: Path) -> None:
    rows = [check.run_part("driver", setup), check.run_part("tensorrt batches", setup)]
    missing = {"part": "x", "status": "missing", "reason": "pip install x", "figures": None}
    out = tmp_path / "deep" / "gpu.json"
    check.write(out, check.report([*rows, missing], setup))
    report = json.loads(out.read_text())
    assert report["passed"] is True
    assert report["gpus"][0]["arch"] == "9.0"
    assert [row["part"] for row in report["parts"]] == ["driver", "tensorrt batches", "x"]
    failed = missing | {"status": "failed"}
    assert check.report([*rows, failed], setup)["passed"] is False


def test_every_part_has_its_place() -> None:
    assert {"memory pycuda", "memory cuda_bindings", "torch and onnxruntime"} <= set(PARTS)
    for flavor in ("tensorrt", "tensorrt_rtx"):
        for part in ("accuracy", "beside torch", "threads", "batches", "graphs", "layers", "bench"):
            assert f"{flavor} {part}" in PARTS
    assert set(CUDA) == {"fp32", "fp16", "int8"}


@pytest.mark.skipif(probe.missing() is None, reason="there is a GPU here")
def test_without_a_gpu_the_program_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    assert check.main(["--out", str(tmp_path / "gpu.json")], say=said.append) == 3
    assert "driver" in said[0]
    assert memory.VARIABLE == "MNISTKIT_GPU_MEMORY"
