"""The int8 net: calibration, the integer definition, fine-tuning, and its renderings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.common.errors import ArtifactError, CheckError, InputError, MissingError, UsageError
from mnistkit.data.sets import ImageSet
from mnistkit.export.writer import export
from mnistkit.nets import zoo
from mnistkit.nets.deploy import ConvOp, DeployGraph, fold
from mnistkit.quantization import calibration, qat, reference, store
from mnistkit.quantization.graph import Int8Conv, Int8Graph, quantize, quantize_weight
from mnistkit.quantization.run import quantize_source, summarize, write_run
from mnistkit.quantization.store import of_source
from mnistkit.runs.source import Source, load_run
from test_nets import trained_like


def int8_of(name: str, images: np.ndarray) -> tuple[DeployGraph, Int8Graph]:
    """A net of the zoo with random weights, folded, and quantized on the images."""
    graph = fold(zoo.get(name), trained_like(zoo.get(name)).state_dict())
    return graph, quantize(graph, calibration.ranges(graph, images, "max"))


def test_each_pixel_is_quantized_to_the_nearest() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    got = reference.quantize_input(pixels)
    exact = [math.floor(int(x) * 127 / 255 + 0.5) for x in pixels]
    assert got.tolist() == exact
    assert got[[0, 255]].tolist() == [0, 127]


def test_requantization_rounds_half_to_even_and_clamps() -> None:
    half = np.float32(0.5)
    acc = np.array([1, 3, 5, -1, -3, 300, -300], np.int32)
    assert reference.requantize(acc, half, -128).tolist() == [0, 2, 2, 0, -2, 127, -128]
    assert reference.requantize(acc, half, 0).tolist() == [0, 2, 2, 0, 0, 127, 0]


@pytest.mark.parametrize(
    ("padding", "stride", "groups", "kernel"),
    [(0, 1, 1, 3), (1, 1, 1, 3), (0, 2, 1, 3), (1, 1, 4, 3), (0, 1, 1, 1), (2, 2, 2, 5)],
)
def test_accumulators_are_those_of_integer_arithmetic(
    padding: int, stride: int, groups: int, kernel: int
) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (2, 4, 9, 9)).astype(np.int32)
    weight = rng.integers(-127, 128, (8, 4 // groups, kernel, kernel)).astype(np.int8)
    bias = rng.integers(-5000, 5000, 8).astype(np.int32)
    ones = np.ones(8, np.float32)
    op = Int8Conv("c", weight, bias, ones, padding, stride, groups, True, ones[0], ones[0])
    wanted = torch.nn.functional.conv2d(
        torch.from_numpy(values).double(),
        torch.from_numpy(weight).double(),
        torch.from_numpy(bias).double(),
        stride=stride,
        padding=padding,
        groups=groups,
    )
    assert np.array_equal(reference.conv_accumulate(op, values), wanted.numpy().astype(np.int64))


@pytest.mark.parametrize("name", zoo.ZOO)
def test_int8_stays_close_to_fp32_layer_by_layer(name: str, images: np.ndarray) -> None:
    from mnistkit.quantization.layers import layer_figures

    graph, int8 = int8_of(name, images)
    figures = layer_figures(graph, int8, images)
    # Eight bits give about 40 dB a layer; a wrong scale or rounding gives 10 or less.
    assert min(layer.snr_db for layer in figures) > 20
    assert figures[-1].scale is None


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_rendering_gives_the_digits_of_the_reference(
    name: str, images: np.ndarray, tmp_path: Path
) -> None:
    from mnistkit.backends.onnxruntime import open_session
    from mnistkit.export.onnx import render_int8
    from mnistkit.export.torchscript_int8 import Int8Net

    _, int8 = int8_of(name, images)
    wanted = reference.logits(int8, images)
    spread = wanted.std()
    (tmp_path / "m.onnx").write_bytes(render_int8(int8))
    ort = open_session(tmp_path / "m.onnx", threads=1).run(["logits"], {"input": images})[0]
    with torch.inference_mode():
        script = Int8Net(int8)(torch.from_numpy(images)).numpy()
    for got in (ort, script):
        assert np.abs(got - wanted).max() < 0.05 * spread
        assert (got.argmax(1) == wanted.argmax(1)).mean() >= 0.98


def test_weights_have_a_scale_per_channel() -> None:
    weight = np.stack([np.full((1, 3, 3), 0.5), np.full((1, 3, 3), -2.0), np.zeros((1, 3, 3))])
    bias = np.zeros(3, np.float32)
    integers, scale = quantize_weight(weight.astype(np.float32), bias, np.float32(0.01))
    assert scale.tolist() == pytest.approx([0.5 / 64, 2 / 64, 2 / 64])
    assert [int(channel.flat[0]) for channel in integers] == [64, -64, 0]


@pytest.mark.parametrize("method", ["max", "percentile", "mse"])
def test_calibration_finds_a_range_for_every_layer(
    source: Source, images: np.ndarray, method: str
) -> None:
    largest = calibration.ranges(source.graph(), images, "max")
    found = calibration.ranges(source.graph(), images, method)
    assert found.keys() == largest.keys()
    assert all(0.3 * largest[name] < value <= largest[name] for name, value in found.items())


def test_the_calibration_set_is_seeded_and_hashed(digits_train: ImageSet) -> None:
    drawn = calibration.draw(digits_train, 512, seed=3)
    said = drawn.describe()
    assert said["images"] == 512
    assert said["sha256"] == hashlib.sha256(drawn.images.tobytes()).hexdigest()
    assert said == calibration.draw(digits_train, 512, seed=3).describe()
    assert said["sha256"] != calibration.draw(digits_train, 512, seed=4).describe()["sha256"]


@pytest.mark.parametrize(
    ("count", "message"), [(100, "at least 512"), (100_000, "the training set has 1300")]
)
def test_calibration_wants_enough_images(digits_train: ImageSet, count: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        calibration.draw(digits_train, count, seed=0)


def test_calibration_refuses_equal_images(digits_train: ImageSet) -> None:
    same = ImageSet("same", digits_train.images[:1].repeat(600, 1, 1, 1), digits_train.labels[:600])
    with pytest.raises(InputError, match="all images are equal"):
        calibration.draw(same, 600, seed=0)


def _damage(graph: DeployGraph, **changes: object) -> DeployGraph:
    """The graph with its second convolution changed."""
    ops = list(graph.ops)
    assert isinstance(ops[1], ConvOp)
    ops[1] = dataclasses.replace(ops[1], **changes)
    return DeployGraph(graph.spec, tuple(ops))


def test_a_layer_with_no_range_is_named(source: Source, images: np.ndarray) -> None:
    graph = source.graph()
    second = graph.ops[1]
    assert isinstance(second, ConvOp)
    dead = _damage(graph, bias=np.full_like(second.bias, -1e3))  # its ReLU never opens
    with pytest.raises(CheckError, match=r"'conv1' has the range 0\.0"):
        quantize(dead, calibration.ranges(dead, images, "max"))


@pytest.mark.parametrize("method", ["max", "percentile", "mse"])
def test_weights_that_are_not_finite_are_named(
    source: Source, images: np.ndarray, method: str
) -> None:
    graph = source.graph()
    second = graph.ops[1]
    assert isinstance(second, ConvOp)
    weight = second.weight.copy()
    weight.flat[0] = np.nan
    with pytest.raises(CheckError, match="'conv1' gives values that are not finite"):
        calibration.ranges(_damage(graph, weight=weight), images, method)
    with pytest.raises(CheckError, match="not finite"):
        quantize(_damage(graph, weight=weight), calibration.ranges(graph, images, "max"))


def test_a_channel_that_is_all_bias_keeps_it(source: Source, images: np.ndarray) -> None:
    graph = source.graph()
    second = graph.ops[1]
    assert isinstance(second, ConvOp)
    weight, bias = second.weight.copy(), second.bias.copy()
    weight[0] *= 1e-7
    bias[0] = 2.0
    made = _damage(graph, weight=weight, bias=bias)
    op = quantize(made, calibration.ranges(made, images, "max")).ops[1]
    assert isinstance(op, Int8Conv)
    assert op.bias[0] * op.acc_scale[0] == pytest.approx(2.0, rel=1e-5)


def test_an_accumulator_that_might_round_is_refused() -> None:
    """A layer of 4,000 inputs can reach past 2^24, where float32 no longer holds every integer."""
    spec = zoo.get("nano")
    ones = np.ones((1, 4000, 1, 1), np.float32)
    wide = ConvOp("wide", ones, np.zeros(1, np.float32), 0, 1, 1, True)
    with pytest.raises(CheckError, match=r"'wide'.*below 2\^24"):
        quantize(DeployGraph(spec, (wide,)), {"wide": 1.0})


def test_the_student_computes_the_int8_net(source: Source, images: np.ndarray) -> None:
    graph = source.graph()
    found = calibration.ranges(graph, images, "max")
    with torch.no_grad():
        student = qat.Student(graph, found)(torch.from_numpy(images).float() / 255).numpy()
    wanted = reference.logits(quantize(graph, found), images)
    # A bias that rounds and a value on the edge of rounding may differ by one step, no more.
    assert np.abs(student - wanted).mean() < 0.005 * wanted.std()


def test_fine_tuning_brings_the_answers_closer(source: Source, digits_train: ImageSet) -> None:
    """A coarse quantization (a third of the range) is visibly mended by two epochs."""
    graph = source.graph()
    images = digits_train.images[:600]
    found = {
        name: value / 3 for name, value in calibration.ranges(graph, images.numpy(), "max").items()
    }
    tuned = qat.fine_tune(
        graph, found, digits_train, source.recipe(), qat.QatSettings(epochs=2), seed=0
    )

    def error(made: DeployGraph) -> float:
        from mnistkit.export.writer import reference_logits

        wanted = torch.from_numpy(reference_logits(graph, images.numpy())).softmax(1)
        got = torch.from_numpy(reference.logits(quantize(made, found), images.numpy())).softmax(1)
        return float((got - wanted).abs().mean())

    assert error(tuned) < 0.8 * error(graph)


@pytest.fixture(scope="module")
def int8_run(
    source: Source, digits_train: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "run"
    write_run(source, quantize_source(source, digits_train, images=512), folder)
    return folder


def test_a_quantized_run_keeps_its_accuracy(
    source: Source, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    figures = summarize(source, quantize_source(source, digits_train, images=512), digits_test)
    assert figures.test_accuracy >= figures.fp32_test_accuracy - 0.01
    assert figures.agreement > 0.98
    json.dumps(figures.to_json())


def test_the_int8_net_survives_its_file(int8_run: Path, images: np.ndarray) -> None:
    graph, origin = of_source(load_run(int8_run))
    assert origin["images"] == 512
    assert len(origin["sha256"]) == 64
    again = int8_run.with_name("again.safetensors")
    store.write(again, graph, origin)
    assert again.read_bytes() == (int8_run / "int8.safetensors").read_bytes()
    assert np.array_equal(
        reference.logits(store.read(again)[0], images), reference.logits(graph, images)
    )


def test_a_damaged_int8_file_is_refused(int8_run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "int8.safetensors"
    damaged.write_bytes((int8_run / "int8.safetensors").read_bytes()[:-50])
    with pytest.raises(ArtifactError, match="not a whole int8 net"):
        store.read(damaged)


def test_a_net_without_int8_says_how_to_make_it(source: Source, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="mnistkit quantize"):
        export(source, tmp_path / "out", precisions=["int8"])
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def int8_artifact(int8_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(export(load_run(int8_run), tmp_path_factory.mktemp("int8-out") / "out"))


def test_the_manifest_tells_of_the_calibration(int8_artifact: Artifact) -> None:
    assert int8_artifact.precisions == ("fp32", "fp16", "int8")
    said = int8_artifact.manifest["calibration"]
    assert {"method", "calibration", "dataset", "images", "seed", "sha256"} <= set(said)


@pytest.mark.parametrize("name", backends.NAMES)
def test_int8_backends_agree_with_the_reference(
    int8_artifact: Artifact, digits_test: ImageSet, name: str
) -> None:
    backend = backends.get(name)
    reason = backend.available() or backend.refuses("int8", "cpu")
    if reason or (backend.format, "int8") not in int8_artifact.formats():
        pytest.skip(f"{name}: {reason or 'the artifact holds no int8 file for it'}")
    images = digits_test.images.numpy()
    with backends.get("reference").load(int8_artifact, "int8") as predictor:
        wanted = predictor.logits(images)
    with backend.load(int8_artifact, "int8", "cpu", threads=1) as predictor:
        got = predictor.logits(images)
    assert (got.argmax(1) == wanted.argmax(1)).mean() >= 0.998
    assert np.abs(got - wanted).max() < 0.5


def test_torchscript_runs_int8_kernels(int8_artifact: Artifact) -> None:
    with pytest.warns(FutureWarning):
        module = torch.jit.load(int8_artifact.file("torchscript", "int8"))
    kernels = str(module.inlined_graph).count("quantized::conv2d_relu")
    assert kernels == 5  # all but the last, which gives float logits


def test_the_onnx_is_quantized_as_tensorrt_wants_it(int8_artifact: Artifact) -> None:
    model = onnx.load(int8_artifact.file("onnx", "int8"))
    onnx.checker.check_model(model, full_check=True)
    makers = {output: node for node in model.graph.node for output in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 6
    for conv in convs:
        for name in conv.input[:2]:
            assert makers[name].op_type == "DequantizeLinear"
        assert conv.input[2] not in makers  # the bias is a plain float constant


def test_int8_files_are_smaller(int8_artifact: Artifact) -> None:
    sizes = {(e.format, e.precision): e.bytes for e in int8_artifact.files}
    for name in ("onnx", "torchscript"):
        assert sizes[name, "int8"] < 0.6 * sizes[name, "fp32"]
