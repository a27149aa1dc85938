"""TensorRT plans, built for real with TensorRT for RTX, which needs no GPU to build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from mnistkit.common.errors import ArtifactError, CheckError, UsageError
from mnistkit.data.sets import ImageSet
from mnistkit.export import onnx as onnx_format
from mnistkit.nets import zoo
from mnistkit.nets.deploy import fold
from mnistkit.nets.module import DigitNet
from mnistkit.quantization import calibration
from mnistkit.quantization.graph import quantize
from mnistkit.tensorrt import builder as tensorrt
from mnistkit.tensorrt import flavor
from mnistkit.tensorrt import lint as qdq_lint
from mnistkit.tensorrt import worker as tensorrt_worker
from mnistkit.tensorrt.builder import BuildOptions
from qdq_models import Spoiled, qdq_model
from tensorrt_common import real

pytestmark = pytest.mark.usefixtures("no_gpu_here")

PRECISIONS = ("fp32", "fp16", "int8")
OPTIONS = BuildOptions("tensorrt_rtx", ("8.9",))


@pytest.fixture(scope="module")
def models(digits_train: ImageSet) -> dict[tuple[str, str], bytes]:
    """The ONNX of every net in every precision; the weights are random, the graphs are ours."""
    made: dict[tuple[str, str], bytes] = {}
    images = digits_train.images[:64].numpy()
    for name, spec in zoo.ZOO.items():
        torch.manual_seed(0)
        graph = fold(spec, DigitNet(spec).eval().state_dict())
        for precision in ("fp32", "fp16"):
            made[name, precision] = onnx_format.render(graph, precision)
        ranges = calibration.ranges(graph, images, "max")
        made[name, "int8"] = onnx_format.render_int8(quantize(graph, ranges))
    return made


def build(model: bytes, precision: str, options: BuildOptions = OPTIONS) -> tensorrt.Plan:
    (target,) = tensorrt.targets(options)
    return tensorrt.build(model, f"model-{precision}.onnx", precision, target, options)


@real
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", zoo.ZOO)
def test_every_net_builds_with_the_precision_asked_for(
    models: dict[tuple[str, str], bytes], net: str, precision: str
) -> None:
    plan = build(models[net, precision], precision)
    convs = [
        node
        for node in onnx.load_from_string(models[net, precision]).graph.node
        if node.op_type == "Conv"
    ]
    assert [layer["name"] for layer in plan.info.layers] == [node.name for node in convs]
    assert {layer["precision"] for layer in plan.info.layers} == {precision}
    assert plan.info.profile == {"min": 1, "opt": 64, "max": 1024}
    assert plan.info.size == len(plan.data) > 10_000
    assert plan.info.inputs[0] == {"name": "input", "dtype": "UINT8", "shape": [-1, 1, 28, 28]}
    assert plan.info.outputs[0] == {"name": "logits", "dtype": "FLOAT", "shape": [-1, 10]}
    # The builder's own list of what it built, not only of what it was given.
    element = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}[precision]
    built = plan.info.engine_layers
    assert built
    assert len(built) == len(convs)
    assert {(layer["input"], layer["weight"]) for layer in built} == {(element, element)}
    if precision == "int8":
        assert qdq_lint.lint(models[net, precision], wants_int8=True) == []


@real
@pytest.mark.parametrize("arch", flavor.get("tensorrt_rtx").archs)
def test_every_architecture_builds(models: dict[tuple[str, str], bytes], arch: str) -> None:
    options = replace(OPTIONS, gpu_archs=(arch,))
    if arch == "7.5":  # Turing: TensorRT for RTX runs the convolutions in float, and says nothing
        with pytest.raises(CheckError, match=r"reads Float.*int8 is Int8"):
            build(models["nano", "int8"], "int8", options)
        plan = build(models["nano", "fp16"], "fp16", options)
    else:
        plan = build(models["nano", "int8"], "int8", options)
    assert plan.info.gpu_arch == arch
    assert plan.info.name == f"model-{plan.info.precision}-sm{arch.replace('.', '')}-rtx1.engine"


@real
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_builds_of_the_same_input_are_identical(
    models: dict[tuple[str, str], bytes], precision: str
) -> None:
    plans = [build(models["base", precision], precision) for _ in range(3)]
    if not plans[0].info.reproducible:
        pytest.skip("this system does not let a process switch address randomization off")
    assert plans[0].data == plans[1].data == plans[2].data
    infos = [replace(plan.info, build_seconds=0.0) for plan in plans]
    assert infos[0] == infos[1] == infos[2]


@real
def test_a_float_model_is_no_int8_plan_and_an_int8_model_no_float_plan(
    models: dict[tuple[str, str], bytes],
) -> None:
    with pytest.raises(CheckError, match="no-qdq"):
        build(models["nano", "fp32"], "int8")
    with pytest.raises(CheckError, match="layer conv0: is int8, fp32 was asked for"):
        build(models["nano", "int8"], "fp32")
    with pytest.raises(CheckError, match="layer conv0: is fp32, fp16 was asked for"):
        build(models["nano", "fp32"], "fp16")


@real
def test_bad_qdq_is_refused_by_its_fault() -> None:
    model = qdq_model(Spoiled(weight_axis=1)).SerializeToString()
    with pytest.raises(CheckError, match="conv1_wdq: weight-axis"):
        build(model, "int8")


@real
@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 64])
def test_what_is_no_onnx_is_refused(content: bytes) -> None:
    with pytest.raises((CheckError, ArtifactError)):
        build(content, "fp32")
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        build(content, "int8")


@real
def test_every_error_of_the_parser_is_reported() -> None:
    model = qdq_model()
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "NoSuchOperator"
    with pytest.raises(CheckError, match="NoSuchOperator"):
        build(model.SerializeToString(), "int8")


def test_a_builder_that_dies_is_an_error_and_not_our_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(tensorrt_worker, "__file__", str(worker))
    target = tensorrt.Target(flavor.get("tensorrt_rtx"), "8.9", None)
    with pytest.raises(CheckError, match="ended with signal 11"):
        tensorrt.build(b"", "x.onnx", "fp32", target, OPTIONS)


@pytest.mark.parametrize(
    "sizes",
    [
        {"min_batch": 0},
        {"min_batch": 9, "max_batch": 4},
        {"opt_batch": 2048},
        {"min_batch": 8, "opt_batch": 4},
        {"max_batch": -1},
    ],
)
def test_batch_sizes_out_of_order_are_a_wrong_call(sizes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="1 <= min <= opt <= max"):
        BuildOptions(**sizes)  # type: ignore[arg-type]


def test_the_usual_batch_stays_inside_the_limits() -> None:
    assert BuildOptions().profile == (1, 64, 1024)
    assert BuildOptions(max_batch=8).profile == (1, 8, 8)
    assert BuildOptions(min_batch=100).profile == (100, 100, 1024)


def test_messages_of_the_worker_are_framed() -> None:
    parts = (b"{}", b"onnx", b"")
    assert tensorrt_worker.unpack(tensorrt_worker.pack(*parts)) == parts
    for broken in (b"", b"x" * 23, tensorrt_worker.pack(*parts)[:-1]):
        with pytest.raises(ValueError, match="bytes"):
            tensorrt_worker.unpack(broken)


def test_the_engine_listing_of_the_log_is_read() -> None:
    tensor = "{ Name: t, Dimensions: [1], Datatype: Int8, Format: x }"
    listing = (
        "Layers:\nName: a, LayerType: kgen, Inputs: [], Outputs: []\n"
        f"Name: conv0_U1, LayerType: correlation, Inputs: [ {tensor}], Constants: [ {tensor}], "
        "Outputs: [ { Name: o, Datatype: Float }], Metadata: [ONNX Layer: conv0]"
    )
    (layer,) = tensorrt_worker.engine_layers(["noise", listing]) or []
    assert layer == {
        "name": "conv0_U1",
        "onnx_layers": ["conv0"],
        "input": "Int8",
        "weight": "Int8",
        "output": "Float",
    }
    assert tensorrt_worker.engine_layers(["noise"]) is None
