"""Where the accuracy goes: each layer's range, scale, saturation and signal-to-noise ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.nets.deploy import DeployGraph
from mnistkit.quantization import reference
from mnistkit.quantization.calibration import layer_outputs
from mnistkit.quantization.graph import QMAX, Int8Graph, Int8MaxPool


@dataclass(frozen=True)
class LayerFigures:
    """One layer's output: range, scale (None: float logits), share of values at the limit, SNR.

    ``snr_db`` is 10·log10 of the power of the fp32 values over that of their int8 error.
    """

    name: str
    largest: float
    scale: float | None
    saturated: float
    snr_db: float


def layer_figures(
    graph: DeployGraph, int8: Int8Graph, images: NDArray[np.uint8]
) -> list[LayerFigures]:
    """Compare each layer of the fp32 net with the int8 reference on ``(N, 1, 28, 28)`` uint8."""
    floats = layer_outputs(graph, images)
    logits, traced = reference.run(int8, images)
    figures = []
    for op in int8.ops:
        if isinstance(op, Int8MaxPool):
            continue
        exact = floats[op.name]
        if op.out_scale is not None:
            integers = traced[op.name]
            scale: float | None = float(op.out_scale)
            got: NDArray[Any] = integers * op.out_scale
            saturated = float((integers >= QMAX).mean())
        elif op is int8.ops[-1]:
            scale, saturated = None, 0.0
            got = logits[:, :, None, None]
        else:
            continue  # accumulators on their way to an average pool: no output of their own
        noise = float(np.square(exact - got, dtype=np.float64).mean())
        power = float(np.square(exact, dtype=np.float64).mean())
        snr = 10 * np.log10(power / noise) if noise > 0 else float("inf")
        figures.append(
            LayerFigures(op.name, float(np.abs(exact).max()), scale, saturated, float(snr))
        )
    return figures
