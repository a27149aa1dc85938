"""The integer reference: the specification that every int8 runtime is held to, in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.common.images import Logits, check_images
from mnistkit.nets.spec import conv_size
from mnistkit.quantization.graph import (
    QMAX,
    Int8AvgPool,
    Int8Conv,
    Int8Graph,
    Int8MaxPool,
)

Integers = NDArray[np.int32]


def quantize_input(images: NDArray[np.uint8]) -> Integers:
    """``round(x * 127 / 255)``; no uint8 lies on a tie, so the rounding's kind does not matter."""
    return np.asarray((images.astype(np.int32) * (2 * QMAX) + 255) // 510, np.int32)


def requantize(
    accumulator: Integers, multiplier: NDArray[np.float32] | np.float32, low: int
) -> Integers:
    """``clamp(round_half_even(float32(acc) * multiplier), low, 127)``, all in IEEE binary32."""
    product = accumulator.astype(np.float32) * multiplier
    return np.asarray(np.clip(np.rint(product), low, QMAX), np.int32)


def conv_accumulate(op: Int8Conv, values: Integers) -> Integers:
    """The int32 accumulators ``(N, out, h, w)`` of ``(N, in, h, w)``, bias included."""
    count, channels = values.shape[:2]
    out, per_group, kernel, _ = op.weight.shape
    pad, step = op.padding, op.stride
    padded = np.pad(values, ((0, 0), (0, 0), (pad, pad), (pad, pad))).astype(np.float32)
    rows, columns = conv_size(values.shape, kernel, pad, step)
    weight = op.weight.reshape(op.groups, out // op.groups, per_group, kernel, kernel)
    # Every product and partial sum is an integer below 2^24, so float32 is exact, and fast.
    sums = np.zeros((count, op.groups, out // op.groups, rows * columns), np.float32)
    for y in range(kernel):
        for x in range(kernel):
            tap = padded[:, :, y : y + rows * step : step, x : x + columns * step : step]
            tap = tap.reshape(count, op.groups, channels // op.groups, rows * columns)
            sums += np.matmul(weight[..., y, x].astype(np.float32), tap)
    accumulators = sums.reshape(count, out, rows, columns).astype(np.int32)
    return accumulators + op.bias[:, None, None]


def run(graph: Int8Graph, images: Any) -> tuple[Logits, dict[str, Integers]]:
    """Return logits float32 ``(N, 10)`` and each op's integers, for uint8 ``(N, 1, 28, 28)``."""
    values = quantize_input(check_images(images))
    traced: dict[str, Integers] = {}
    acc_scale: NDArray[np.float32] | None = None
    for op in graph.ops:
        match op:
            case Int8Conv():
                values = conv_accumulate(op, values)
                if op.out_scale is None:
                    acc_scale = op.multiplier
                else:
                    values = requantize(values, op.multiplier[:, None, None], op.low)
            case Int8MaxPool(size=size):
                count, channels, height, width = values.shape
                kept = values[:, :, : height // size * size, : width // size * size]
                shape = (count, channels, height // size, size, width // size, size)
                values = kept.reshape(shape).max(axis=(3, 5))
            case Int8AvgPool():
                sums = values.sum(axis=(2, 3), keepdims=True, dtype=np.int32)
                if acc_scale is None:
                    values = requantize(sums, op.multiplier, -QMAX - 1)
                else:
                    values = sums
                    acc_scale = (acc_scale * op.multiplier).astype(np.float32)
        traced[op.name] = values
    assert acc_scale is not None  # a graph ends in a convolution that is not requantized
    return values[:, :, 0, 0].astype(np.float32) * acc_scale, traced


def logits(graph: Int8Graph, images: Any, batch: int = 250) -> Logits:
    """Logits float32 ``(N, 10)`` of many images, a batch at a time."""
    parts = [run(graph, images[at : at + batch])[0] for at in range(0, len(images), batch)]
    return np.concatenate(parts) if parts else np.zeros((0, 10), np.float32)
