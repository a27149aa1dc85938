"""ONNX: the deploy graph written node by node, so that names, opset and layout are ours.

Building the file from the graph needs no tracer and gives every runtime the same few operators:
Cast, Mul, Conv, Relu, MaxPool, GlobalAveragePool, Flatten, and in int8 QuantizeLinear and
DequantizeLinear, placed where TensorRT wants them: both inputs of every convolution come from a
DequantizeLinear, and nothing stands between a convolution and its ReLU.

A file claims the lowest opset that can say what is in it, and that opset's own IR version: a
runtime refuses a file that claims more than it knows, whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from mnistkit.common.errors import CheckError, UsageError
from mnistkit.nets.deploy import INPUT_SCALE, AvgPoolOp, ConvOp, DeployGraph, MaxPoolOp
from mnistkit.nets.spec import NetSpec
from mnistkit.quantization.graph import (
    INPUT_QUANT_SCALE,
    Int8AvgPool,
    Int8Conv,
    Int8Graph,
    Int8MaxPool,
)
from onnx import TensorProto, helper, numpy_helper

FORMAT = "onnx"
SUFFIX = ".onnx"
PRECISIONS = ("fp32", "fp16", "int8")
# 9 is the first whose IR (4) lets constants be no inputs, and the first that TensorRT's parser
# promises to read. 13 is the first with a scale per channel.
LOWEST_OPSET = {"fp32": 9, "fp16": 9, "int8": 13}
_TYPES: dict[str, tuple[int, type[np.floating[Any]]]] = {
    "fp32": (TensorProto.FLOAT, np.float32),
    "fp16": (TensorProto.FLOAT16, np.float16),
}


class GraphWriter:
    """Collects nodes and constants; each node's output carries the node's name."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray[Any, Any]) -> str:
        """Add an initializer and return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, op: ConvOp | Int8Conv, inputs: list[str]) -> str:
        """Add a convolution over ``inputs`` (values, weight, bias) and its ReLU."""
        kernel = op.weight.shape[-1]
        value = self.node(
            "Conv",
            inputs,
            op.name,
            kernel_shape=[kernel, kernel],
            pads=[op.padding] * 4,
            strides=[op.stride] * 2,
            group=op.groups,
        )
        return self.node("Relu", [value], f"{op.name}_relu") if op.relu else value

    def pool(self, op: MaxPoolOp | AvgPoolOp | Int8MaxPool | Int8AvgPool, value: str) -> str:
        """Add a max or average pool."""
        if isinstance(op, MaxPoolOp | Int8MaxPool):
            size = [op.size] * 2
            return self.node("MaxPool", [value], op.name, kernel_shape=size, strides=size)
        return self.node("GlobalAveragePool", [value], op.name)

    def requantized(self, value: str, scale: np.float32, name: str) -> str:
        """Quantize a float value to int8 and back: what follows reads integers times ``scale``."""
        inputs = [
            self.constant(f"{name}_scale", np.array(scale, np.float32)),
            self.constant(f"{name}_zero_point", np.array(0, np.int8)),
        ]
        value = self.node("QuantizeLinear", [value, *inputs], f"{name}_q")
        return self.node("DequantizeLinear", [value, *inputs], f"{name}_dq")

    def weight(self, op: Int8Conv) -> str:
        """The dequantized weight of an int8 convolution, a scale per output channel."""
        inputs = [
            self.constant(f"{op.name}_weight", op.weight),
            self.constant(f"{op.name}_weight_scale", op.weight_scale),
            self.constant(f"{op.name}_weight_zero_point", np.zeros(len(op.weight), np.int8)),
        ]
        return self.node("DequantizeLinear", inputs, f"{op.name}_weight_dq", axis=0)

    def model(self, spec: NetSpec) -> bytes:
        """Close the graph, check it in full and return the file's bytes."""
        proto = helper.make_graph(
            self.nodes,
            f"mnistkit-{spec.name}",
            [helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", 1, 28, 28])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            proto,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="mnistkit",
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.checker.ValidationError as error:  # pragma: no cover - a fault of ours
            raise CheckError(f"the ONNX of {spec.name} is not valid: {error}") from error
        return bytes(model.SerializeToString())


def check_opset(opset: int, precisions: Sequence[str]) -> None:
    """Raise :class:`UsageError` unless these precisions can be written with that opset."""
    highest = onnx.defs.onnx_opset_version()
    lowest = max(
        (LOWEST_OPSET[precision] for precision in precisions), default=min(LOWEST_OPSET.values())
    )
    if lowest <= opset <= highest:
        return
    each = ", ".join(f"{p} from {LOWEST_OPSET[p]}" for p in precisions)
    raise UsageError(
        f"opset {opset}: wanted {lowest} to {highest} ({each}; onnx {onnx.__version__} knows up to "
        f"{highest}); leave it out for the lowest of each precision"
    )


def _writer(precision: str, opset: int | None) -> GraphWriter:
    if opset is None:
        return GraphWriter(LOWEST_OPSET[precision])
    check_opset(opset, [precision])
    return GraphWriter(opset)


def claims(data: bytes) -> dict[str, int]:
    """The ``opset`` and ``ir_version`` that an ONNX file claims."""
    model = onnx.load_model_from_string(data)
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    return {"opset": opset, "ir_version": model.ir_version}


def render(graph: DeployGraph | Int8Graph, precision: str, opset: int | None = None) -> bytes:
    """Return the ONNX file: input uint8 ``(N, 1, 28, 28)``, logits float32 ``(N, 10)``.

    Without ``opset`` it claims the lowest that holds the net. Raises :class:`UsageError` for one
    that does not hold it, or that the installed ``onnx`` does not know.
    """
    if isinstance(graph, Int8Graph):
        return render_int8(graph, opset)
    element, dtype = _TYPES[precision]
    writer = _writer(precision, opset)
    value = writer.node("Cast", ["input"], "input_cast", to=element)
    scale = writer.constant("pixel_scale", np.array(INPUT_SCALE, dtype))
    value = writer.node("Mul", [value, scale], "input_scaled")
    for op in graph.ops:
        if isinstance(op, ConvOp):
            weight = writer.constant(f"{op.name}_weight", op.weight.astype(dtype))
            bias = writer.constant(f"{op.name}_bias", op.bias.astype(dtype))
            value = writer.conv(op, [value, weight, bias])
        else:
            value = writer.pool(op, value)
    if precision == "fp32":
        writer.node("Flatten", [value], "logits", axis=1)
    else:
        value = writer.node("Flatten", [value], "logits_half", axis=1)
        writer.node("Cast", [value], "logits", to=TensorProto.FLOAT)
    return writer.model(graph.spec)


def render_int8(graph: Int8Graph, opset: int | None = None) -> bytes:
    """Return the Q/DQ ONNX file of an int8 net.

    Biases stay float (TensorRT rejects quantized ones) but hold whole multiples of the
    accumulator's scale, so that a runtime that rounds them to int32 finds the same integers.
    """
    writer = _writer("int8", opset)
    value = writer.node("Cast", ["input"], "input_cast", to=TensorProto.FLOAT)
    scale = writer.constant("pixel_scale", np.array(INPUT_SCALE, np.float32))
    value = writer.node("Mul", [value, scale], "input_scaled")
    value = writer.requantized(value, INPUT_QUANT_SCALE, "input")
    # A max pool commutes with quantization: it runs before it, so that each convolution reads
    # straight from a DequantizeLinear.
    waiting: tuple[np.float32, str] | None = None
    for op in graph.ops:
        if waiting is not None and not isinstance(op, Int8MaxPool):
            value = writer.requantized(value, *waiting)
            waiting = None
        if isinstance(op, Int8Conv):
            bias = writer.constant(f"{op.name}_bias", (op.bias * op.acc_scale).astype(np.float32))
            value = writer.conv(op, [value, writer.weight(op), bias])
        else:
            value = writer.pool(op, value)
        if not isinstance(op, Int8MaxPool) and op.out_scale is not None:
            waiting = (op.out_scale, op.name)
    writer.node("Flatten", [value], "logits", axis=1)
    return writer.model(graph.spec)
