"""The Q/DQ linter names every fault, and the real TensorRT parser shows why it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.tensorrt import lint as qdq_lint
from mnistkit.tensorrt import worker as tensorrt_worker
from onnx import TensorProto, helper
from qdq_models import Spoiled, qdq_model, qoperator_model


def uint8_activations() -> Spoiled:
    return Spoiled(input_zero_point=np.array(0, np.uint8))


def per_channel_activations() -> Spoiled:
    # Along the height: the one channel of the input has nothing to differ from.
    zero = np.zeros(28, np.int8)
    return Spoiled(input_scale=np.full(28, 0.01, np.float32), input_zero_point=zero, input_axis=2)


# name: what is spoiled, the rule, the node, part of what was found, and whether the real parser
# and builder refuse it (False: a plan comes out, without a word that it is wrong).
CASES: dict[str, tuple[Spoiled, str, str, str, bool]] = {
    "uint8 activations": (uint8_activations(), "uint8", "in_q", "uint8", False),
    "uint8 by default": (Spoiled(input_zero_point=None), "uint8", "in_q", "uint8", False),
    "zero point of an activation": (
        Spoiled(input_zero_point=np.array(3, np.int8)),
        *("zero-point", "in_q", "zero point 3", True),
    ),
    "zero point of a weight": (
        Spoiled(weight_zero_point=-1),
        *("zero-point", "conv0_wdq", "zero point -1", True),
    ),
    "zero scale": (
        Spoiled(input_scale=np.array(0, np.float32)),
        *("scale", "in_q", "scale 0", True),
    ),
    "negative scale": (
        Spoiled(weight_scale=-0.5),
        *("scale", "conv0_wdq", "scale -0.5", True),
    ),
    "int32 bias": (Spoiled(bias="int32"), "int32-bias", "conv0_bdq", "int32", True),
    "int8 bias": (Spoiled(bias="int8"), "int8-bias", "conv0_bdq", "int8", False),
    "weight axis 1": (Spoiled(weight_axis=1), "weight-axis", "conv1_wdq", "axis 1", False),
    "per-channel activations": (
        per_channel_activations(),
        *("activation-per-channel", "in_q", "28 scales", False),
    ),
    "a scale of one value that is no scalar": (
        Spoiled(input_scale=np.full(1, 0.01, np.float32)),
        *("scale-shape", "in_q", "shape (1,)", False),
    ),
    "a conv's input in float": (
        Spoiled(quantized_input=False),
        *("float-input", "conv0", "its input from Mul", False),
    ),
    "a conv's weight in float": (
        Spoiled(quantized_weight=False),
        *("float-input", "conv0", "its weight from", False),
    ),
    "another scale after the quantize": (
        Spoiled(second_scale=np.array(0.5, np.float32)),
        *("scale-mismatch", "in_dq", "0.5", False),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_named(name: str, tmp_path: Path) -> None:
    spoiled, rule, node, found, _ = CASES[name]
    path = tmp_path / "model-int8.onnx"
    onnx.save(qdq_model(spoiled), path)
    faults = qdq_lint.lint(path)
    matching = [fault for fault in faults if fault.rule == rule and node in fault.node.split()]
    assert matching, faults
    assert found in matching[0].found
    assert {fault.rule for fault in faults} == {rule}  # and nothing else is accused
    for part in (node, rule, "wanted", matching[0].why):
        assert part in str(matching[0])


def test_qoperator_nodes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(qoperator_model(), path)
    faults = qdq_lint.lint(path)
    assert faults[0].rule == "qoperator"
    assert faults[0].node == "QLinearConv conv"


def test_a_computed_scale_is_named() -> None:
    faults = qdq_lint.lint(qdq_model(Spoiled(computed_scale=True)))
    assert {fault.rule for fault in faults} == {"scale-not-constant"}


def test_a_right_model_has_no_fault() -> None:
    onnx.checker.check_model(qdq_model(), full_check=True)
    assert qdq_lint.lint(qdq_model(), wants_int8=True) == []


@pytest.mark.parametrize(
    ("head", "axis", "right"),
    [("Gemm", 1, True), ("MatMul", 1, True), ("Gemm", 0, False), ("MatMul", 0, False)],
)
def test_the_outputs_of_a_matrix_product_lie_on_its_second_axis(
    head: str, axis: int, right: bool
) -> None:
    model = qdq_model(Spoiled(head=head))
    for node in model.graph.node:
        if node.name == "fc_wdq":
            node.attribute[0].i = axis
    assert (qdq_lint.lint(model) == []) is right


def test_a_negative_axis_counts_from_the_end() -> None:
    model = qdq_model()
    (node,) = [node for node in model.graph.node if node.name == "conv0_wdq"]
    node.attribute[0].i = -4
    assert qdq_lint.lint(model) == []


def test_a_float_model_has_none_unless_int8_is_wanted() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "float", info[:1], info[1:]))
    assert qdq_lint.lint(model) == []
    assert [fault.rule for fault in qdq_lint.lint(model, wants_int8=True)] == ["no-qdq"]


def test_what_is_no_onnx_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(MissingError, match="mnistkit export --onnx"):
        qdq_lint.lint(path)
    for content in (b"", b"not a protobuf at all", b"\x08"):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="not an ONNX file"):
            qdq_lint.lint(path)


def test_the_command_lists_faults_and_fails(tmp_path: Path) -> None:
    def lint(*arguments: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mnistkit", "lint", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    onnx.save(qdq_model(), tmp_path / "a.onnx")
    done = lint(tmp_path)
    assert (done.returncode, "a.onnx: no faults" in done.stdout) == (0, True), done.stderr
    onnx.save(qdq_model(Spoiled(weight_axis=1)), tmp_path / "b.onnx")
    done = lint(tmp_path, "--json", tmp_path / "lint.json")
    assert done.returncode == 1
    assert "weight-axis" in done.stdout
    (row,) = json.loads((tmp_path / "lint.json").read_text())["faults"]
    assert (row["file"], row["rule"]) == ("b.onnx", "weight-axis")
    assert lint(tmp_path / "nowhere.onnx").returncode == 3


JOB = {
    "module": "tensorrt_rtx",
    "build_arch": "8.9",
    "precision": "int8",
    "input": "input",
    "shape": (1, 28, 28),
    "profile": (1, 8, 16),
    "timing_cache": False,
}


def real_refusal(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What the real parser and builder say, without this project's linter and layer checks."""
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    monkeypatch.setattr(tensorrt_worker, "check_layers", lambda *_: ([], []))
    monkeypatch.setattr(tensorrt_worker, "engine_faults", lambda *_: [])
    try:
        tensorrt_worker.build(trt, JOB, model.SerializeToString(), b"")
    except tensorrt_worker.RefusedError as refusal:
        return f"{refusal.kind}: {refusal.faults}"
    return None


@pytest.mark.parametrize("name", CASES)
def test_what_the_real_tensorrt_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most faults pass the real parser and builder: that is what the linter is for."""
    refusal = real_refusal(qdq_model(CASES[name][0]), monkeypatch)
    assert (refusal is not None) is CASES[name][-1], refusal


def test_the_real_tensorrt_refuses_qoperators_and_takes_what_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "QLinearConv" in str(real_refusal(qoperator_model(), monkeypatch))
    assert real_refusal(qdq_model(), monkeypatch) is None
