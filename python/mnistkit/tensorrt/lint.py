"""A linter for quantized ONNX: what TensorRT refuses, and what it takes in silence and gets wrong.

TensorRT wants explicit quantization (QuantizeLinear and DequantizeLinear) in int8 with zero point
0 and a positive scale: activations per tensor, weights per output channel, no quantized bias, and
both inputs of every convolution from a DequantizeLinear. It rejects some departures; others build
without a word and run in float, or read bytes as something else. Each rule here names one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from mnistkit.common.errors import ArtifactError, MissingError

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QOPERATORS = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QGemm")
_TYPE_NAMES = {number: name.lower() for name, number in TensorProto.DataType.items()}
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Fault:
    """One departure: which rule, at which node, what is there, what is wanted, and why."""

    rule: str
    node: str
    found: str
    wanted: str
    why: str

    def __str__(self) -> str:
        return f"{self.node}: {self.rule}: found {self.found}, wanted {self.wanted} ({self.why})"


_WHY = {
    "qoperator": "TensorRT's parser takes explicit Q/DQ alone",
    "scale": "TensorRT rejects a scale that is zero, negative or not finite",
    "scale-not-constant": "TensorRT takes constant scales alone",
    "zero-point": "TensorRT's int8 is symmetric and rejects the model",
    "uint8": "TensorRT only warns, reads the bytes as int8 and gives wrong numbers",
    "type": "TensorRT reads int8",
    "int32-bias": "TensorRT rejects an int32 bias; it quantizes the bias itself",
    "int8-bias": "TensorRT accepts it in silence, and the bias loses its precision",
    "weight-axis": "TensorRT accepts it in silence and scales the wrong channels",
    "scale-shape": "TensorRT accepts it in silence, takes it for per channel and runs in float",
    "activation-per-channel": "TensorRT accepts it in silence and does not run it as int8",
    "scale-mismatch": "the values change between the two, which no runtime reports",
    "float-input": "TensorRT accepts it in silence and runs the layer in float",
    "no-qdq": "TensorRT would run the whole net in float",
}


def lint(model: onnx.ModelProto | bytes | Path, *, wants_int8: bool = False) -> list[Fault]:
    """Return the faults of a model, in the order of its nodes; empty where there are none.

    A model without any quantization has none, unless ``wants_int8``. Raises
    :class:`MissingError` for a file that is not there, :class:`ArtifactError` for one that is no
    ONNX.
    """
    return list(_Linter(_load(model)).faults(wants_int8))


def _load(model: onnx.ModelProto | bytes | Path) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    name = "the model"
    if isinstance(model, Path):
        name = str(model)
        if not model.is_file():
            raise MissingError(f"{model} is not there; make one with: mnistkit export --onnx")
        model = model.read_bytes()
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's own error class differs between its versions
        raise ArtifactError(f"{name} is not an ONNX file: {error}") from error
    if not proto.graph.node:
        raise ArtifactError(f"{name} is not an ONNX file, or an empty one: it has no node")
    return proto


class _Linter:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._nodes = list(model.graph.node)
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._constants: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        for node in self._nodes:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self._weights = self._operands(1, _PRODUCTS)
        self._biases = self._operands(2, ("Conv", "ConvTranspose", "Gemm"))

    def _operands(self, index: int, kinds: tuple[str, ...]) -> dict[str, onnx.NodeProto]:
        """Tensors read as that operand, back through Q/DQ to the start, with their readers."""
        found: dict[str, onnx.NodeProto] = {}
        for node in self._nodes:
            if node.op_type not in kinds or len(node.input) <= index:
                continue
            name = node.input[index]
            while name and name not in found:
                found[name] = node
                maker = self._makers.get(name)
                if maker is None or maker.op_type not in (_QUANTIZE, _DEQUANTIZE):
                    break
                name = maker.input[0]
        return found

    def faults(self, wants_int8: bool) -> Iterator[Fault]:
        quantized = any(node.op_type in (_QUANTIZE, _DEQUANTIZE) for node in self._nodes)
        foreign = False
        for node in self._nodes:
            kind = node.op_type
            if kind.startswith("QLinear") or kind in _QOPERATORS:
                foreign = True
                yield self._fault("qoperator", node, kind, "QuantizeLinear and DequantizeLinear")
            elif kind in (_QUANTIZE, _DEQUANTIZE):
                yield from self._pair(node)
            elif kind in _PRODUCTS and quantized and not foreign:
                yield from self._product(node)
        if wants_int8 and not quantized and not foreign:
            yield Fault(
                "no-qdq", "the model", "no quantized node", "Q/DQ around each conv", _WHY["no-qdq"]
            )

    def _fault(self, rule: str, node: onnx.NodeProto, found: str, wanted: str) -> Fault:
        name = f"{node.op_type} {node.name or node.output[0]}"
        return Fault(rule, name, found, wanted, _WHY[rule])

    def _pair(self, node: onnx.NodeProto) -> Iterator[Fault]:
        """What is wrong with one QuantizeLinear or DequantizeLinear."""
        value = node.output[0] if node.op_type == _QUANTIZE else node.input[0]
        if node.output[0] in self._biases:
            if node.op_type == _DEQUANTIZE:
                yield self._bias(node)
            return
        element = self._element(node)
        if element == "uint8":
            yield self._fault("uint8", node, "uint8 values", "int8")
        elif element != "int8":
            yield self._fault("type", node, f"{element} values", "int8")
        scale = self._constants.get(node.input[1])
        if scale is None:
            yield self._fault("scale-not-constant", node, node.input[1], "an initializer")
            return
        values = np.asarray(scale, np.float64).ravel()
        if bad := [float(v) for v in values if not (np.isfinite(v) and v > 0)]:
            yield self._fault("scale", node, f"scale {bad[0]:g}", "scales above 0")
        if len(node.input) > 2 and node.input[2]:
            zero = self._constants.get(node.input[2])
            if zero is None:
                yield self._fault("zero-point", node, "a computed zero point", "zero point 0")
            elif np.asarray(zero, np.int64).any():
                offset = next(int(v) for v in np.ravel(zero) if v)
                yield self._fault("zero-point", node, f"zero point {offset}", "zero point 0")
        reader = self._weights.get(node.output[0]) or self._weights.get(value)
        if values.size > 1:
            yield from self._axis(node, reader)
        elif np.ndim(scale) and reader is None:
            yield self._fault("scale-shape", node, f"a scale of shape {scale.shape}", "a scalar")
        maker = self._makers.get(node.input[0])
        if node.op_type == _DEQUANTIZE and maker is not None and maker.op_type == _QUANTIZE:
            other = self._constants.get(maker.input[1])
            if other is not None and not np.array_equal(other, scale):
                scales = f"scale {values[0]:g} after {float(np.ravel(other)[0]):g}"
                yield self._fault("scale-mismatch", node, scales, "the scale of its quantize")

    def _bias(self, node: onnx.NodeProto) -> Fault:
        element = self._element(node)
        rule = "int32-bias" if element == "int32" else "int8-bias"
        return self._fault(rule, node, f"a bias in {element}", "a float bias, not quantized")

    def _element(self, node: onnx.NodeProto) -> str:
        """The integer type on the quantized side."""
        if len(node.input) > 2 and node.input[2] in self._constants:
            return str(self._constants[node.input[2]].dtype)
        if node.op_type == _DEQUANTIZE:
            held = self._constants.get(node.input[0])
            if held is not None:
                return str(held.dtype)
            maker = self._makers.get(node.input[0])
            return self._element(maker) if maker and maker.op_type == _QUANTIZE else "unknown"
        stated = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
        return _TYPE_NAMES[stated] if stated else "uint8"  # the operator's own default

    def _axis(self, node: onnx.NodeProto, reader: onnx.NodeProto | None) -> Iterator[Fault]:
        """Scales per channel: on a weight along its output channels, on nothing else."""
        if reader is None:
            found = f"{len(np.ravel(self._constants[node.input[1]]))} scales on an activation"
            yield self._fault("activation-per-channel", node, found, "one scale per tensor")
            return
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        rank = self._rank(node.input[0])
        if axis < 0 and rank:
            axis += rank
        wanted = 0
        if reader.op_type == "Gemm":
            wanted = 0 if next((a.i for a in reader.attribute if a.name == "transB"), 0) else 1
        elif reader.op_type in ("MatMul", "ConvTranspose"):
            wanted = 1
        if axis != wanted:
            yield self._fault("weight-axis", node, f"axis {axis}", f"axis {wanted}, the outputs'")

    def _rank(self, name: str) -> int | None:
        """Rank of a constant, also where a quantize stands before it."""
        if name in self._constants:
            return self._constants[name].ndim
        maker = self._makers.get(name)
        return self._rank(maker.input[0]) if maker and maker.op_type == _QUANTIZE else None

    def _product(self, node: onnx.NodeProto) -> Iterator[Fault]:
        for index, what in ((0, "input"), (1, "weight")):
            maker = self._makers.get(node.input[index])
            if maker is None or maker.op_type != _DEQUANTIZE:
                made = (
                    f"{maker.op_type} {maker.name}".strip() if maker else "a constant or an input"
                )
                found = f"its {what} from {made}"
                yield self._fault("float-input", node, found, f"its {what} from a {_DEQUANTIZE}")
