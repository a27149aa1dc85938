"""Int8 nets of the first edition, whose pairs of weights may exceed 16 bits."""

from __future__ import annotations

import dataclasses

import numpy as np
from mnistkit.quantization.graph import Int8Conv, Int8Graph


def first_edition(graph: Int8Graph) -> Int8Graph:
    """The net with every weight about doubled, to use all of -127..127, at half the scale."""

    def full(op: Int8Conv) -> Int8Conv:
        channels = np.abs(op.weight.astype(np.int64)).reshape(len(op.weight), -1).max(1)
        factor = (127 / np.maximum(channels, 1))[:, None, None, None]
        weight = np.rint(op.weight * factor).astype(np.int8)
        scale = (op.weight_scale / factor[:, 0, 0, 0]).astype(np.float32)
        bias = np.rint(op.bias * factor[:, 0, 0, 0]).astype(np.int32)
        return dataclasses.replace(op, weight=weight, weight_scale=scale, bias=bias)

    ops = tuple(full(op) if isinstance(op, Int8Conv) else op for op in graph.ops)
    return Int8Graph(graph.spec, ops, edition=1)
