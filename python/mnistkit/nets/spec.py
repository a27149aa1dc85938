"""What a net is: a frozen, validated list of layers from which everything else follows.

A :class:`NetSpec` is pure data. The training module, the layer table, the folded deploy graph
and every exported file are made from it, so they cannot disagree about the architecture.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mnistkit.common.errors import SpecError

INPUT_SHAPE = (1, 28, 28)
CLASSES = 10


@dataclass(frozen=True, slots=True)
class Conv:
    """2-D convolution with a square kernel."""

    kind: ClassVar[str] = "conv"
    channels: int
    kernel: int = 3
    padding: int = 0
    stride: int = 1
    groups: int = 1
    bias: bool = False


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalization over channels."""

    kind: ClassVar[str] = "batch_norm"


@dataclass(frozen=True, slots=True)
class ReLU:
    """Rectifier; must follow a convolution or a batch norm."""

    kind: ClassVar[str] = "relu"


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of single values, or of whole channels; active in training alone."""

    kind: ClassVar[str] = "dropout"
    rate: float
    channelwise: bool = False


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Max pooling with stride equal to its size; a ragged border is dropped."""

    kind: ClassVar[str] = "max_pool"
    size: int = 2


@dataclass(frozen=True, slots=True)
class AvgPool:
    """Average pooling over the whole feature map, down to 1x1."""

    kind: ClassVar[str] = "avg_pool"


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully connected layer on a 1x1 map."""

    kind: ClassVar[str] = "linear"
    features: int
    bias: bool = True


Layer = Conv | BatchNorm | ReLU | Dropout | MaxPool | AvgPool | Linear
_LAYERS: dict[str, type[Layer]] = {
    cls.kind: cls for cls in (Conv, BatchNorm, ReLU, Dropout, MaxPool, AvgPool, Linear)
}
Shape = tuple[int, int, int]


def conv_size(shape: Sequence[int], kernel: int, padding: int, stride: int) -> tuple[int, int]:
    """Height and width that a square convolution gives for an input whose last two these are."""
    height, width = ((n + 2 * padding - kernel) // stride + 1 for n in shape[-2:])
    return height, width


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer in its place: shapes are ``(channels, height, width)``."""

    layer: Layer
    in_shape: Shape
    out_shape: Shape
    params: int
    multiply_adds: int
    receptive_field: int


@dataclass(frozen=True)
class NetSpec:
    """A named sequence of layers from a ``(1, 28, 28)`` image to 10 logits.

    Raises :class:`~mnistkit.common.errors.SpecError` where the layers do not fit together.

    >>> import mnistkit
    >>> mnistkit.nets.get("base").params
    18554
    """

    name: str
    layers: tuple[Layer, ...]
    description: str = ""

    def __post_init__(self) -> None:
        self.trace()

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(info.params for info in self.trace())

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions and the linear layer for one image."""
        return sum(info.multiply_adds for info in self.trace())

    @property
    def receptive_field(self) -> int:
        """Side, in input pixels, of the square that one value before the average pool sees."""
        return self.trace()[-1].receptive_field

    @property
    def activation_values(self) -> int:
        """Values alive at once in the worst layer (its input and its output)."""
        return max(
            _size(info.in_shape) + _size(info.out_shape)
            for info in self.trace()
            if isinstance(info.layer, Conv | Linear)
        )

    def trace(self) -> tuple[LayerInfo, ...]:
        """Walk the layers, checking each, and return them with their shapes and costs."""
        if not self.layers:
            raise SpecError(f"net {self.name!r} has no layers; give it at least a conv and a pool")
        shape: Shape = INPUT_SHAPE
        field, jump = 1, 1
        infos: list[LayerInfo] = []
        before: Layer | None = None
        for index, layer in enumerate(self.layers):
            where = f"net {self.name!r}, layer {index} ({layer.kind})"
            out, params, macs = _step(layer, shape, before, where)
            if isinstance(layer, Conv):
                field, jump = field + (layer.kernel - 1) * jump, jump * layer.stride
            elif isinstance(layer, MaxPool):
                field, jump = field + (layer.size - 1) * jump, jump * layer.size
            infos.append(LayerInfo(layer, shape, out, params, macs, field))
            shape = out
            if not isinstance(layer, Dropout):
                before = layer
        if shape != (CLASSES, 1, 1):
            raise SpecError(
                f"net {self.name!r} ends in {shape[0]}x{shape[1]}x{shape[2]}, "
                f"wanted {CLASSES}x1x1 (one logit a digit)"
            )
        return tuple(infos)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return {
            "name": self.name,
            "description": self.description,
            "layers": [{"kind": layer.kind, **dataclasses.asdict(layer)} for layer in self.layers],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetSpec:
        """Read what :meth:`to_dict` wrote; an unknown layer or key is a :class:`SpecError`."""
        _keys(data, {"name", "layers"}, {"description"}, "net spec")
        layers = data["layers"]
        if not isinstance(layers, Sequence) or isinstance(layers, str):
            raise SpecError(f"net spec: 'layers' must be a list, got {type(layers).__name__}")
        return cls(
            str(data["name"]),
            tuple(_layer_from_dict(entry, index) for index, entry in enumerate(layers)),
            str(data.get("description", "")),
        )

    def to_json(self) -> str:
        """The spec as JSON text; equal specs give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)


def _size(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _keys(data: Any, required: set[str], optional: set[str], where: str) -> None:
    if not isinstance(data, Mapping):
        raise SpecError(f"{where}: wanted an object, got {type(data).__name__}")
    if missing := required - set(data):
        raise SpecError(f"{where}: missing {', '.join(sorted(missing))}")
    if extra := set(data) - required - optional:
        known = ", ".join(sorted(required | optional))
        raise SpecError(f"{where}: unknown key {', '.join(sorted(extra))}; known: {known}")


def _layer_from_dict(entry: Any, index: int) -> Layer:
    where = f"net spec, layer {index}"
    if not isinstance(entry, Mapping) or "kind" not in entry:
        raise SpecError(f"{where}: wanted an object with a 'kind'")
    kind = entry["kind"]
    if kind not in _LAYERS:
        raise SpecError(f"{where}: unknown kind {kind!r}; known: {', '.join(sorted(_LAYERS))}")
    layer = _LAYERS[kind]
    fields = dataclasses.fields(layer)
    required = {f.name for f in fields if f.default is dataclasses.MISSING}
    optional = {f.name for f in fields} - required
    _keys(entry, required | {"kind"}, optional, f"{where} ({kind})")
    return layer(**{key: value for key, value in entry.items() if key != "kind"})


def _positive(where: str, **values: int) -> None:
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise SpecError(f"{where}: {name} must be a positive integer, got {value!r}")


def _step(layer: Layer, shape: Shape, before: Layer | None, where: str) -> tuple[Shape, int, int]:
    """Return the layer's output shape, parameters and multiply-adds, or refuse it."""
    channels, height, width = shape
    match layer:
        case Conv():
            _positive(
                where,
                channels=layer.channels,
                kernel=layer.kernel,
                stride=layer.stride,
                groups=layer.groups,
            )
            if type(layer.padding) is not int or layer.padding < 0:
                raise SpecError(f"{where}: padding must be an integer >= 0, got {layer.padding!r}")
            if channels % layer.groups or layer.channels % layer.groups:
                raise SpecError(
                    f"{where}: {layer.groups} groups divide neither evenly "
                    f"{channels} input nor {layer.channels} output channels"
                )
            side = conv_size(shape, layer.kernel, layer.padding, layer.stride)
            if min(side) < 1:
                raise SpecError(f"{where}: kernel {layer.kernel} is larger than {height}x{width}")
            weights = layer.channels * (channels // layer.groups) * layer.kernel**2
            out = (layer.channels, side[0], side[1])
            bias = layer.channels if layer.bias else 0
            return out, weights + bias, weights * side[0] * side[1]
        case BatchNorm():
            return shape, 2 * channels, 0
        case ReLU():
            if not isinstance(before, Conv | BatchNorm):
                raise SpecError(f"{where}: a ReLU must follow a conv or a batch norm")
            return shape, 0, 0
        case Dropout():
            if not 0 <= layer.rate < 1:
                raise SpecError(f"{where}: dropout rate must be in [0, 1), got {layer.rate!r}")
            return shape, 0, 0
        case MaxPool():
            _positive(where, size=layer.size)
            if min(height, width) < layer.size:
                raise SpecError(f"{where}: pool {layer.size} is larger than {height}x{width}")
            return (channels, height // layer.size, width // layer.size), 0, 0
        case AvgPool():
            return (channels, 1, 1), 0, 0
        case Linear():
            _positive(where, features=layer.features)
            if (height, width) != (1, 1):
                raise SpecError(f"{where}: wants a 1x1 map, got {height}x{width}; pool first")
            weights = channels * layer.features
            bias = layer.features if layer.bias else 0
            return (layer.features, 1, 1), weights + bias, weights
