"""The deploy graph: a trained net with every batch norm folded away, as plain arrays.

Three kinds of op are left: convolution (with its ReLU), max pool and average pool. Every exported
file and the int8 net are renderings of this graph. Dropout is gone, a linear layer is a 1x1
convolution, and scaling the uint8 input to 0..1 is the graph's first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mnistkit.common.errors import ArtifactError
from mnistkit.nets.spec import (
    INPUT_SHAPE,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Linear,
    MaxPool,
    NetSpec,
    ReLU,
    Shape,
    conv_size,
)

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float32]
INPUT_SCALE = 1 / 255
_BN_EPS = 1e-5  # torch's default, which training uses


@dataclass(frozen=True, eq=False)
class ConvOp:
    """Convolution: ``weight`` float32 ``(out, in/groups, k, k)``, ``bias`` float32 ``(out,)``."""

    kind: ClassVar[str] = "conv"
    name: str
    weight: FloatArray
    bias: FloatArray
    padding: int
    stride: int
    groups: int
    relu: bool

    def out_shape(self, shape: Shape) -> Shape:
        """The output's ``(channels, height, width)`` for an input of ``shape``."""
        out, _, kernel, _ = self.weight.shape
        return out, *conv_size(shape, kernel, self.padding, self.stride)


@dataclass(frozen=True, eq=False)
class MaxPoolOp:
    """Max pooling with stride equal to ``size``."""

    kind: ClassVar[str] = "max_pool"
    name: str
    size: int

    def out_shape(self, shape: Shape) -> Shape:
        """The output's ``(channels, height, width)`` for an input of ``shape``."""
        return shape[0], shape[1] // self.size, shape[2] // self.size


@dataclass(frozen=True, eq=False)
class AvgPoolOp:
    """Average pooling over the whole map."""

    kind: ClassVar[str] = "avg_pool"
    name: str

    def out_shape(self, shape: Shape) -> Shape:
        """The output's ``(channels, 1, 1)``."""
        return shape[0], 1, 1


Op = ConvOp | MaxPoolOp | AvgPoolOp


@dataclass(frozen=True, eq=False)
class DeployGraph:
    """Ops in order, from uint8 ``(N, 1, 28, 28)`` times ``INPUT_SCALE`` to logits ``(N, 10)``."""

    spec: NetSpec
    ops: tuple[Op, ...]

    def shapes(self) -> tuple[Shape, ...]:
        """The shape before each op, and that of the logits last."""
        shapes = [INPUT_SHAPE]
        for op in self.ops:
            shapes.append(op.out_shape(shapes[-1]))
        return tuple(shapes)

    def rounded_to_fp16(self) -> DeployGraph:
        """The same net with weights and biases that fp16 holds: the reference of fp16.

        What fp16 cannot hold becomes infinite.
        """

        def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
            with np.errstate(over="ignore"):
                return values.astype(np.float16).astype(np.float32)

        ops = tuple(
            replace(op, weight=rounded(op.weight), bias=rounded(op.bias))
            if isinstance(op, ConvOp)
            else op
            for op in self.ops
        )
        return replace(self, ops=ops)


@dataclass
class _Affine:
    """A per-channel ``scale * x + shift`` that waits for a convolution to be folded into."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def fold(spec: NetSpec, state: Mapping[str, Tensor]) -> DeployGraph:
    """Fold trained weights (a :class:`DigitNet` state dict) into a deploy graph.

    A norm right after a convolution folds into it. One after a ReLU or a pool folds forward into
    the next convolution where that has no padding; before a padded one the border would need a
    pad value of its own per channel, so there, and where a ReLU follows, the norm stays as a
    depthwise 1x1 convolution. Arithmetic is in float64. Raises
    :class:`~mnistkit.common.errors.ArtifactError` where a weight is not finite.
    """
    arrays = {key: value.detach().cpu().numpy().astype(np.float64) for key, value in state.items()}
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ArtifactError(
                f"net {spec.name!r}: {key} holds values that are not finite; train it again"
            )
    folder = _Folder()
    for index, info in enumerate(spec.trace()):
        prefix = f"layers.{index}."
        layer = info.layer
        match layer:
            case Conv():
                bias = arrays.get(prefix + "bias", np.zeros(layer.channels))
                weight = arrays[prefix + "weight"]
                folder.conv(weight, bias, layer.padding, layer.stride, layer.groups)
            case Linear():
                weight = arrays[prefix + "1.weight"][:, :, None, None]
                folder.conv(weight, arrays.get(prefix + "1.bias", np.zeros(layer.features)))
            case BatchNorm():
                part = {key: arrays[prefix + key] for key in _NORM_KEYS}
                scale = part["weight"] / np.sqrt(part["running_var"] + _BN_EPS)
                folder.affine(_Affine(scale, part["bias"] - part["running_mean"] * scale))
            case ReLU():
                folder.relu()
            case MaxPool():
                folder.max_pool(layer.size)
            case AvgPool():
                folder.avg_pool()
            case Dropout():
                pass
    return DeployGraph(spec, folder.finish())


_NORM_KEYS = ("weight", "bias", "running_mean", "running_var")


class _Folder:
    """Collects float64 ops and folds waiting affines into them."""

    def __init__(self) -> None:
        self._ops: list[dict[str, Any]] = []
        self._waiting: _Affine | None = None

    def conv(
        self,
        weight: NDArray[np.float64],
        bias: NDArray[np.float64],
        padding: int = 0,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        if self._waiting is not None and padding:
            self._settle()
        if self._waiting is not None:
            out, per_group = weight.shape[0], weight.shape[1]
            first = np.arange(out) // (out // groups) * per_group
            channel = first[:, None] + np.arange(per_group)
            bias = bias + (weight.sum((2, 3)) * self._waiting.shift[channel]).sum(1)
            weight = weight * self._waiting.scale[channel][:, :, None, None]
            self._waiting = None
        self._ops.append(
            {
                "kind": "conv",
                "weight": weight,
                "bias": bias,
                "padding": padding,
                "stride": stride,
                "groups": groups,
                "relu": False,
            }
        )

    def affine(self, affine: _Affine) -> None:
        last = self._ops[-1] if self._ops else None
        if self._waiting is None and last and last["kind"] == "conv" and not last["relu"]:
            last["weight"] = last["weight"] * affine.scale[:, None, None, None]
            last["bias"] = last["bias"] * affine.scale + affine.shift
        elif self._waiting is None:
            self._waiting = affine
        else:
            before = self._waiting
            shift = before.shift * affine.scale + affine.shift
            self._waiting = _Affine(before.scale * affine.scale, shift)

    def relu(self) -> None:
        if self._waiting is not None:
            self._settle()
        # The spec admits a ReLU after a conv or a norm alone, so a conv is last here.
        self._ops[-1]["relu"] = True

    def max_pool(self, size: int) -> None:
        if self._waiting is not None:
            self._settle()
        self._ops.append({"kind": "max_pool", "size": size})

    def avg_pool(self) -> None:
        # An average of affine values is the affine of the average: what waits may go on waiting.
        self._ops.append({"kind": "avg_pool"})

    def finish(self) -> tuple[Op, ...]:
        if self._waiting is not None:
            self._settle()
        ops: list[Op] = []
        for op in self._ops:
            fields = {key: value for key, value in op.items() if key != "kind"}
            count = sum(other.kind == op["kind"] for other in ops)
            name = f"{op['kind']}{count}"
            if op["kind"] == "conv":
                fields["weight"] = np.ascontiguousarray(fields["weight"], np.float32)
                fields["bias"] = np.ascontiguousarray(fields["bias"], np.float32)
                ops.append(ConvOp(name, **fields))
            elif op["kind"] == "max_pool":
                ops.append(MaxPoolOp(name, **fields))
            else:
                ops.append(AvgPoolOp(name))
        return tuple(ops)

    def _settle(self) -> None:
        """Turn the waiting affine into a depthwise 1x1 convolution."""
        waiting = self._waiting
        assert waiting is not None
        self._waiting = None
        channels = len(waiting.scale)
        self.conv(waiting.scale.reshape(-1, 1, 1, 1), waiting.shift, groups=channels)
