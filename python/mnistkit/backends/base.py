"""The protocol that every runtime stands behind, and the one check of its input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mnistkit.artifact import Artifact
from mnistkit.errors import InputError, UsageError

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]


def check_images(images: Any) -> Images:
    """Return images as contiguous uint8 ``(N, 1, 28, 28)``, or raise :class:`InputError`.

    A view that is not contiguous is copied; another dtype or shape is refused, because a float
    array in 0..1 would be read as a blank picture.
    """
    if not isinstance(images, np.ndarray):
        raise InputError(
            f"images: got {type(images).__name__}, wanted a numpy array, uint8 (N, 1, 28, 28)"
        )
    if images.dtype != np.uint8:
        raise InputError(
            f"images: got dtype {images.dtype}, wanted uint8 with 0 = background and 255 = ink; "
            f"for floats in 0..1: (images * 255).round().astype('uint8')"
        )
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
        raise InputError(
            f"images: got shape {images.shape}, wanted (N, 1, 28, 28); "
            f"for one picture: images.reshape(1, 1, 28, 28)"
        )
    return np.ascontiguousarray(images)


class Predictor(ABC):
    """A model loaded into a runtime. Use one from one thread at a time, and close it."""

    def logits(self, images: Any) -> Logits:
        """Return float32 logits ``(N, 10)`` for uint8 images ``(N, 1, 28, 28)``.

        An empty batch gives an empty result; anything but uint8 of that shape is an
        :class:`InputError`.
        """
        checked = check_images(images)
        if not len(checked):
            return np.zeros((0, 10), np.float32)
        return self._run(checked)

    @abstractmethod
    def _run(self, images: Images) -> Logits:
        """Run a checked, contiguous batch that is not empty."""

    def bind(self, images: Any) -> Callable[[], Any]:
        """Return a call that runs the engine alone on this batch.

        What can be prepared once (conversion, device copies, buffers) is prepared here, so that
        timing the call times the engine and not the way to it. What the call returns is the
        runtime's own: :meth:`bound_logits` reads it.
        """
        checked = check_images(images)
        return lambda: self._run(checked)

    def bound_logits(self, result: Any) -> Logits:
        """The logits ``(N, 10)`` in what a bound call returned, as an array of the caller's own."""
        return np.array(result, np.float32)

    def close(self) -> None:  # noqa: B027 - most runtimes have nothing to give back
        """Give back what the runtime holds; the predictor is of no use afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Backend(ABC):
    """A runtime: whether it can be used here, and how it loads an artifact."""

    name: ClassVar[str]
    description: ClassVar[str]
    format: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    cuda_only: ClassVar[tuple[str, ...]] = ()
    is_specification: ClassVar[bool] = False  # there to be compared with, not to be used or timed
    is_peer: ClassVar[bool] = False  # there to be measured against: its faults are not ours
    int8_is_exact: ClassVar[bool] = False  # its integers are the definition's on every CPU

    @abstractmethod
    def available(self) -> str | None:
        """None where the runtime can be used, else the reason and the command that helps."""

    @abstractmethod
    def load(
        self, artifact: Artifact, precision: str, device: str = "cpu", threads: int = 0
    ) -> Predictor:
        """Load the artifact's model of that precision.

        ``threads`` is a number of CPU threads; 0 leaves the choice to the runtime. What
        :func:`mnistkit.threads.check_threads` refuses is a :class:`UsageError`.
        """

    def refuses(self, precision: str, device: str) -> str | None:
        """Why this runtime cannot run that precision on that device, or None."""
        kind = device.split(":", maxsplit=1)[0]
        if kind not in self.devices:
            return f"runs on {' and '.join(self.devices)}, not on {device}"
        if precision not in self.precisions:
            return f"has no {precision}"
        if precision in self.cuda_only and kind == "cpu":
            return f"runs {precision} on CUDA alone: use --device cuda"
        return None


def check_device(device: str) -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N``, or raise :class:`UsageError`."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"device: got {device!r}, wanted cpu, cuda or cuda:N")
    return device
