"""A small Q/DQ ONNX that TensorRT likes, and every way to spoil it that the linter knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


@dataclass
class Spoiled:
    """What to build; the defaults are right. Values for ``*_zero_point`` set its type too."""

    input_scale: Array = field(default_factory=lambda: np.array(1 / 127, np.float32))
    input_zero_point: Array | None = field(default_factory=lambda: np.array(0, np.int8))
    input_axis: int = 1
    second_scale: Array | None = None  # of the input's DequantizeLinear; default: the same
    weight_axis: int = 0
    weight_scale: float = 0.01
    weight_zero_point: int = 0
    bias: str = "float"  # or int32, int8
    quantized_input: bool = True
    quantized_weight: bool = True
    computed_scale: bool = False
    head: str = "Conv"  # or Gemm, MatMul: what makes the logits


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name


def qdq_model(spoiled: Spoiled | None = None) -> onnx.ModelProto:
    """uint8 (N, 1, 28, 28) -> one 3x3 conv -> global average -> logits (N, 10)."""
    want = spoiled or Spoiled()
    graph = _Graph()
    value = graph.node("Cast", ["input"], "cast", to=TensorProto.FLOAT)
    pixel = graph.constant("pixel", np.float32(1 / 255))
    value = graph.node("Mul", [value, pixel], "scaled")
    if want.quantized_input:
        value = _input_pair(graph, want, value)
    first = replace(want, weight_axis=0)  # with one input channel there is but one axis
    value = _conv(graph, first, value, "conv0", (10, 1, 3, 3))
    value = graph.node("Relu", [value], "relu0")
    value = graph.node("GlobalAveragePool", [value], "pool")
    if want.head != "Conv":
        value = graph.node("Flatten", [value], "flat", axis=1)
    value = _activation_pair(graph, value, "head")
    if want.head == "Conv":
        second = Spoiled(weight_axis=want.weight_axis)
        value = _conv(graph, second, value, "conv1", (10, 10, 1, 1))
        graph.node("Flatten", [value], "logits", axis=1)
    else:
        _product(graph, want, value)
    proto = helper.make_graph(
        graph.nodes,
        "spoiled",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        graph.constants,
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _input_pair(graph: _Graph, want: Spoiled, value: str) -> str:
    scale = graph.constant("in_scale", want.input_scale)
    if want.computed_scale:
        scale = graph.node("Abs", [scale], "in_scale_abs")
    second = scale
    if want.second_scale is not None:
        second = graph.constant("in_scale_2", want.second_scale)
    zero = []
    if want.input_zero_point is not None:
        zero = [graph.constant("in_zero", want.input_zero_point)]
    axis = {"axis": want.input_axis} if np.size(want.input_scale) > 1 else {}
    value = graph.node("QuantizeLinear", [value, scale, *zero], "in_q", **axis)
    return graph.node("DequantizeLinear", [value, second, *zero], "in_dq", **axis)


def _activation_pair(graph: _Graph, value: str, name: str) -> str:
    inputs = [
        graph.constant(f"{name}_scale", np.float32(0.02)),
        graph.constant(f"{name}_zero", np.int8(0)),
    ]
    value = graph.node("QuantizeLinear", [value, *inputs], f"{name}_q")
    return graph.node("DequantizeLinear", [value, *inputs], f"{name}_dq")


def _conv(graph: _Graph, want: Spoiled, value: str, name: str, shape: tuple[int, ...]) -> str:
    weight = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    if want.quantized_weight:
        channels = shape[want.weight_axis]
        inputs = [
            graph.constant(f"{name}_weight", weight),
            graph.constant(f"{name}_ws", np.full(channels, want.weight_scale, np.float32)),
            graph.constant(f"{name}_wz", np.full(channels, want.weight_zero_point, np.int8)),
        ]
        operand = graph.node("DequantizeLinear", inputs, f"{name}_wdq", axis=want.weight_axis)
    else:
        operand = graph.constant(f"{name}_weight", weight.astype(np.float32) / 100)
    bias = graph.constant(f"{name}_bias", _bias_values(want.bias, shape[0]))
    if want.bias != "float":
        scale = graph.constant(f"{name}_bs", np.float32(0.001))
        bias = graph.node("DequantizeLinear", [bias, scale], f"{name}_bdq")
    return graph.node("Conv", [value, operand, bias], name, kernel_shape=list(shape[2:]))


def _bias_values(kind: str, channels: int) -> Array:
    return np.arange(channels).astype({"float": np.float32, "int32": np.int32}.get(kind, np.int8))


def _product(graph: _Graph, want: Spoiled, value: str) -> str:
    """A Gemm or MatMul with its ``(in, out)`` weight, whose output channels lie on axis 1."""
    weight = np.random.default_rng(1).integers(-127, 128, (10, 10)).astype(np.int8)
    inputs = [
        graph.constant("fc_weight", weight),
        graph.constant("fc_ws", np.full(10, 0.01, np.float32)),
        graph.constant("fc_wz", np.zeros(10, np.int8)),
    ]
    operand = graph.node("DequantizeLinear", inputs, "fc_wdq", axis=want.weight_axis)
    return graph.node(want.head, [value, operand], "logits")


def qoperator_model() -> onnx.ModelProto:
    """A QLinearConv, as ONNX Runtime's other quantization format has it."""
    graph = _Graph()
    scale = graph.constant("scale", np.float32(0.01))
    zero = graph.constant("zero", np.uint8(0))
    signed = graph.constant("signed", np.int8(0))
    weight = graph.constant("weight", np.ones((10, 1, 28, 28), np.int8))
    value = graph.node(
        "QLinearConv", ["input", scale, zero, weight, scale, signed, scale, zero], "conv"
    )
    value = graph.node("DequantizeLinear", [value, scale, zero], "dq")
    graph.node("Flatten", [value], "logits", axis=1)
    proto = helper.make_graph(
        graph.nodes,
        "qoperator",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        graph.constants,
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
