"""Calibration: how large each layer's output gets on real training images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnistkit.common.errors import CheckError, InputError, UsageError
from mnistkit.data.sets import ImageSet
from mnistkit.nets.deploy import INPUT_SCALE, DeployGraph, MaxPoolOp
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.quantization.graph import QMAX

LEAST_IMAGES = 512
PERCENTILE = 99.99
_LOOKED_AT = 500_000  # values of a layer, evenly taken from all of them


@dataclass(frozen=True)
class CalibrationSet:
    """Seeded training images ``(N, 1, 28, 28)`` uint8 and what the manifest says of them."""

    images: NDArray[np.uint8]
    dataset: str
    seed: int

    def describe(self) -> dict[str, Any]:
        """Data set, count, seed and the sha256 of the images' bytes."""
        digest = hashlib.sha256(self.images.tobytes()).hexdigest()
        count = len(self.images)
        return {"dataset": self.dataset, "images": count, "seed": self.seed, "sha256": digest}


def draw(train_set: ImageSet, count: int, seed: int) -> CalibrationSet:
    """Draw ``count`` training images. Raises where there are fewer, or they are all the same."""
    if count < LEAST_IMAGES:
        raise UsageError(
            f"calibration wants at least {LEAST_IMAGES} images, {count} were asked for"
        )
    if count > len(train_set):
        raise UsageError(
            f"calibration: {count} images asked for, the training set has {len(train_set)}; "
            f"ask for fewer with --images"
        )
    order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(seed))
    images = train_set.images[order[:count]].numpy()
    if (images == images[0]).all():
        raise InputError(
            "calibration: all images are equal, so no layer shows its range; calibrate on real, "
            "varied training images"
        )
    return CalibrationSet(images, train_set.name, seed)


def ranges(graph: DeployGraph, images: NDArray[np.uint8], method: str) -> dict[str, float]:
    """The largest magnitude of each op's output that int8 is to hold, by op name.

    ``max`` holds everything that was seen, ``percentile`` all but one value in 10,000 of those
    that are not zero, ``mse`` the clip that loses the least squared error.
    """
    if method not in _PICK:
        raise UsageError(f"unknown calibration {method!r}; known: {', '.join(_PICK)}")
    found: dict[str, float] = {}
    for name, outputs in layer_outputs(graph, images).items():
        magnitudes = np.abs(outputs).ravel()
        if not np.isfinite(magnitudes).all():
            raise CheckError(
                f"layer {name!r} gives values that are not finite; train the net again"
            )
        found[name] = _PICK[method](magnitudes)
    return found


def layer_outputs(graph: DeployGraph, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The float32 output of each op but the max pools, ``(N, C, H, W)``, by name."""
    values = torch.from_numpy(images).float() * INPUT_SCALE
    outputs: dict[str, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for op, module in zip(graph.ops, DeployNet(graph).ops, strict=True):
            values = module(values)
            if not isinstance(op, MaxPoolOp):
                outputs[op.name] = values.numpy()
    return outputs


def _largest(magnitudes: NDArray[np.float32]) -> float:
    return float(magnitudes.max())


def _percentile(magnitudes: NDArray[np.float32]) -> float:
    alive = magnitudes[magnitudes > 0][:: -(-magnitudes.size // _LOOKED_AT)]
    return float(np.percentile(alive, PERCENTILE)) if alive.size else 0.0


def _least_error(magnitudes: NDArray[np.float32]) -> float:
    """Search the clip from 40 % to 100 % of the largest value (Sung et al. 2015)."""
    largest = _largest(magnitudes)
    if largest == 0:
        return 0.0
    sample = magnitudes[:: -(-magnitudes.size // _LOOKED_AT)]
    best, least = largest, np.inf
    for clip in np.linspace(0.4, 1.0, 61) * largest:
        scale = clip / QMAX
        kept = np.minimum(np.rint(sample / scale), QMAX) * scale
        if (error := float(np.square(sample - kept).mean())) < least:
            best, least = float(clip), error
    return best


_PICK: dict[str, Callable[[NDArray[np.float32]], float]] = {
    "max": _largest,
    "percentile": _percentile,
    "mse": _least_error,
}
