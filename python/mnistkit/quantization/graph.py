"""The int8 net: one definition, of which every int8 export is a rendering.

All values are int8 with zero point 0 and a positive scale: ``real = scale * integer``. Weights
have a scale per output channel, activations one per tensor. ``docs/explanations/int8.md`` has it in
words; :mod:`mnistkit.quantization.reference` is the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mnistkit.artifact.edition import EDITION, REMEDY
from mnistkit.common.errors import ArtifactError, CheckError
from mnistkit.nets.deploy import AvgPoolOp, ConvOp, DeployGraph, MaxPoolOp
from mnistkit.nets.spec import INPUT_SHAPE, NetSpec

QMAX = 127
# Two weights of one output channel and one sign add up to at most this (edition 2). As bytes an
# activation is at most 255, and 255 * 128 = 32,640 is the last multiple that 16 bits hold.
PAIR_MAX = 128
INPUT_QUANT_SCALE = np.float32(1 / QMAX)  # of the input in 0..1: 255 becomes 127
_EXACT = 2**24  # integers below it convert to float32 without rounding
_BIAS_LIMIT = 2**22  # leaves three quarters of that to the products
_SCALES = np.linspace(1.0, 1.3, 31)  # tried for each channel, in units of the least possible one


@dataclass(frozen=True, eq=False)
class Int8Conv:
    """Convolution on int8.

    ``weight`` int8 ``(out, in/groups, k, k)`` in -127..127, ``bias`` int32 ``(out,)`` at scale
    ``in_scale * weight_scale``, ``weight_scale`` float32 ``(out,)``. ``out_scale`` None marks the
    last convolution, whose accumulator becomes logits and is never requantized.
    """

    kind: ClassVar[str] = "conv"
    name: str
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    weight_scale: NDArray[np.float32]
    padding: int
    stride: int
    groups: int
    relu: bool
    in_scale: np.float32
    out_scale: np.float32 | None

    @property
    def acc_scale(self) -> NDArray[np.float32]:
        """What one unit of the accumulator is worth, float32 ``(out,)``."""
        return (self.in_scale * self.weight_scale).astype(np.float32)

    @property
    def multiplier(self) -> NDArray[np.float32]:
        """From accumulator to output integer (or to logits, in the last conv), ``(out,)``."""
        if self.out_scale is None:
            return self.acc_scale
        return (self.acc_scale / self.out_scale).astype(np.float32)

    @property
    def low(self) -> int:
        """The least output integer."""
        return 0 if self.relu else -QMAX - 1


@dataclass(frozen=True, eq=False)
class Int8MaxPool:
    """Max pooling on int8; the scale stays."""

    kind: ClassVar[str] = "max_pool"
    name: str
    size: int


@dataclass(frozen=True, eq=False)
class Int8AvgPool:
    """Average over the whole map of ``count`` pixels: an int32 sum, then one rounding.

    ``out_scale`` None: the pool follows the last convolution and sums its accumulators; the mean
    is exact up to the conversion to float32.
    """

    kind: ClassVar[str] = "avg_pool"
    name: str
    count: int
    in_scale: np.float32 | None
    out_scale: np.float32 | None

    @property
    def multiplier(self) -> np.float32:
        """From the sum to the output integer, or 1/count where accumulators are summed."""
        if self.in_scale is None or self.out_scale is None:
            return np.float32(1 / self.count)
        return np.float32(self.in_scale / np.float32(self.count * self.out_scale))


Int8Op = Int8Conv | Int8MaxPool | Int8AvgPool


@dataclass(frozen=True, eq=False)
class Int8Graph:
    """Ops in order. The input integer is ``round(x * 127 / 255)`` of the uint8 ``x``.

    Raises :class:`ArtifactError` where a weight breaks the rule of its edition.
    """

    spec: NetSpec
    ops: tuple[Int8Op, ...]
    edition: int = EDITION

    def __post_init__(self) -> None:
        for op in self.ops:
            if isinstance(op, Int8Conv):
                _check_weights(op, self.edition)


def largest_pair(weight: NDArray[Any]) -> NDArray[Any]:
    """The largest sum of two magnitudes of one sign in each output channel, ``(out,)``.

    ``weight`` is ``(out, ...)``, integers or floats; where a channel has one weight of a sign, it
    counts alone.
    """
    wide = np.int64 if np.issubdtype(weight.dtype, np.integer) else weight.dtype
    flat = weight.reshape(len(weight), -1).astype(wide)
    largest: NDArray[Any] = np.zeros(len(weight), wide)
    for side in (flat, -flat):
        largest = np.maximum(largest, _two_largest(np.maximum(side, 0)).sum(1))
    return largest


def _two_largest(values: NDArray[Any]) -> NDArray[Any]:
    """The two largest of each row of values that are not negative, ``(rows, 2)``."""
    padded = np.pad(values, ((0, 0), (0, max(0, 2 - values.shape[1]))))
    return np.partition(padded, -2, axis=1)[:, -2:]


def _check_weights(op: Int8Conv, edition: int) -> None:
    if edition >= 2 and (most := int(largest_pair(op.weight).max(initial=0))) > PAIR_MAX:
        raise ArtifactError(
            f"layer {op.name!r}: two weights of one sign add up to {most}, edition {edition} of "
            f"the int8 definition allows {PAIR_MAX}; {REMEDY}"
        )


def quantize_weight(
    weight: NDArray[np.float32], bias: NDArray[np.float32], in_scale: np.float32
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize per output channel: ``(int8 weights, float32 scales)``.

    A channel's scale is, of those at which no pair of weights exceeds ``PAIR_MAX``, the one with
    the least squared error of the weights. A channel without weights takes its layer's. One that
    all but gives a constant, its weights tiny beside its bias, gets the larger scale at which the
    bias fits into the accumulator.
    """
    pair = largest_pair(weight)
    whole = pair.max(initial=0)
    if not np.isfinite(whole) or whole <= 0:
        raise CheckError(
            "a layer's weights are all zero or not finite: it has no range to quantize; "
            "train the net again"
        )
    least = np.where(pair > 0, pair, whole) / PAIR_MAX
    fitting = np.abs(bias) / (in_scale * _BIAS_LIMIT)
    flat = weight.reshape(len(weight), -1)
    scales = np.maximum(least * _SCALES[:, None], fitting).astype(np.float32)  # (tried, out)
    errors = np.square(flat - np.rint(flat / scales[..., None]) * scales[..., None]).sum(2)
    errors[~_holds(flat, scales)] = np.inf
    scale = np.take_along_axis(scales, errors.argmin(0)[None], 0)[0]
    return np.rint(weight / scale[:, None, None, None]).astype(np.int8), scale


def _holds(flat: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a channel's rounded weights keep to ``PAIR_MAX`` and ``QMAX``, at each of its scales.

    At the last scales tried all do: rounding adds at most half to each weight of a pair.
    """
    held = np.ones(scales.shape, np.bool_)
    for side in (flat, -flat):
        two = np.rint(_two_largest(np.maximum(side, 0)) / scales[..., None])
        held &= (two.sum(2) <= PAIR_MAX) & (two.max(2) <= QMAX)
    return held


def quantize(graph: DeployGraph, ranges: Mapping[str, float]) -> Int8Graph:
    """Quantize a deploy graph with the largest magnitude of each op's output in ``ranges``.

    ``ranges`` needs the name of every op but the max pools and what follows the last convolution.
    Raises :class:`CheckError` where a range is zero or not finite, or an accumulator might not
    convert to float32 exactly.
    """
    last = max(i for i, op in enumerate(graph.ops) if isinstance(op, ConvOp))
    scale = INPUT_QUANT_SCALE
    ops: list[Int8Op] = []
    shape = INPUT_SHAPE
    for index, op in enumerate(graph.ops):
        match op:
            case ConvOp():
                out_scale = None if index == last else _scale(op.name, ranges)
                ops.append(_conv(op, scale, out_scale))
                scale = out_scale if out_scale is not None else scale
            case MaxPoolOp():
                if index > last:
                    raise CheckError(f"net {graph.spec.name!r}: a max pool follows the last conv")
                ops.append(Int8MaxPool(op.name, op.size))
            case AvgPoolOp():
                count = shape[1] * shape[2]
                if index > last:
                    ops.append(Int8AvgPool(op.name, count, None, None))
                else:
                    out_scale = _scale(op.name, ranges)
                    ops.append(Int8AvgPool(op.name, count, scale, out_scale))
                    scale = out_scale
        shape = op.out_shape(shape)
    return Int8Graph(graph.spec, tuple(ops))


def _scale(name: str, ranges: Mapping[str, float]) -> np.float32:
    largest = ranges[name]
    if not np.isfinite(largest) or largest <= 0:
        raise CheckError(
            f"layer {name!r} has the range {largest} over the calibration images: nothing to "
            f"quantize. Calibrate on real, varied images, and check the layer's weights"
        )
    return np.float32(largest / QMAX)


def _conv(op: ConvOp, in_scale: np.float32, out_scale: np.float32 | None) -> Int8Conv:
    if not np.isfinite(op.weight).all() or not np.isfinite(op.bias).all():
        raise CheckError(f"layer {op.name!r} has weights that are not finite; train the net again")
    weight, weight_scale = quantize_weight(op.weight, op.bias, in_scale)
    acc_scale = (in_scale * weight_scale).astype(np.float32)
    bias = np.rint(op.bias.astype(np.float64) / acc_scale)
    reach = np.abs(weight.astype(np.int64)).sum((1, 2, 3)) * (QMAX + 1) + np.abs(bias)
    if (reach >= _EXACT).any():
        raise CheckError(
            f"layer {op.name!r}: an accumulator may reach {reach.max():.3g}, the int8 definition "
            f"allows below 2^24; give the layer fewer inputs"
        )
    return Int8Conv(
        op.name,
        weight,
        bias.astype(np.int32),
        weight_scale,
        op.padding,
        op.stride,
        op.groups,
        op.relu,
        in_scale,
        out_scale,
    )
