"""The most that one core can do: multiply-adds a second with nothing else to do."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.engine import api
from mnistkit.common.errors import MissingError
from mnistkit.native.library import ENGINE

_STEPS = 200_000  # about a millisecond, beside which a call is nothing
_SLICE_S = 0.01


class Roofline:
    """Measures the peak of the kernel set that the engine uses here, slice by slice.

    A slice is timed between the slices of the runtimes, so that one clock speed holds for both.
    The empty call is the engine's own C function asked for no image, from Python: what every
    row of the engine holds beside the engine.
    """

    def __init__(self, artifact: Artifact, precision: str) -> None:
        library = ENGINE.find()
        if library is None:
            raise MissingError(f"--roofline needs the engine: {ENGINE.missing()}")
        self._api = api(library)
        self._predictor = self._api.open(artifact.file("native", precision))
        self._index = [one.name for one in self._api.kernels()].index(self._predictor.kernels)
        self._empty = self._predictor.bind(np.empty((0, 1, 28, 28), np.uint8))
        self._rates: dict[str, list[float]] = {"int8": [], "fp32": []}
        self._empty_us: list[float] = []

    def measure(self) -> None:
        """Time one slice of each precision, and the empty call."""
        for precision, rates in self._rates.items():
            end = time.perf_counter() + _SLICE_S
            while (start := time.perf_counter()) < end:
                done = self._api.peak(self._index, precision, _STEPS)
                rates.append(done / (time.perf_counter() - start))
        for _ in range(200):
            began = time.perf_counter_ns()
            self._empty()
            self._empty_us.append((time.perf_counter_ns() - began) / 1000)

    def peak(self, precision: str) -> float | None:
        """Multiply-adds a second of the best slice; None where it cannot be measured."""
        return max(self._rates.get(precision, []), default=0) or None

    def figures(self) -> dict[str, Any]:
        """What ``bench --roofline`` adds to its report."""
        return {
            "kernels": self._predictor.kernels,
            "multiply_adds_per_second": {name: self.peak(name) for name in self._rates},
            "empty_call_us": statistics.median(self._empty_us),
        }

    def close(self) -> None:
        """Close the engine."""
        self._predictor.close()
