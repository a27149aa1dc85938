"""Device memory, pinned memory and streams: a small interface, and the choice of what backs it.

Two libraries can: pycuda first, and NVIDIA's cuda-bindings where pycuda cannot be built. Both use
the device's *primary* context, the one that PyTorch and TensorRT use, retained once and pushed
around each call. A context of one's own (``pycuda.autoinit``, ``make_context``) would fight with
theirs.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mnistkit.common.errors import MissingError, UsageError
from mnistkit.tensorrt import probe

VARIABLE = "MNISTKIT_GPU_MEMORY"
_MODULES = {"pycuda": "pycuda", "cuda_bindings": "cuda.bindings"}
INSTALL = "pip install pycuda, or where that does not build: pip install cuda-bindings"


class Stream(Protocol):
    """A CUDA stream; ``handle`` is what TensorRT takes."""

    @property
    def handle(self) -> int:
        """The stream as an integer."""

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""

    def close(self) -> None:
        """Destroy it."""


class Buffer(Protocol):
    """Device memory; ``address`` is what TensorRT takes."""

    @property
    def address(self) -> int:
        """Where it lies on the device."""

    def close(self) -> None:
        """Free it."""


class Pinned(Protocol):
    """Page-locked host memory, which the device copies from and to without waiting."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """The bytes, shape ``(nbytes,)``; not to be used after ``close``."""

    def close(self) -> None:
        """Free it."""


class Graph(Protocol):
    """Captured work that replays with one call."""

    def launch(self, stream: Stream) -> None:
        """Queue it."""

    def close(self) -> None:
        """Destroy it."""


class Memory(ABC):
    """One device's primary context, retained from construction until :meth:`close`.

    Every other method wants the context current: call it inside ``with memory.current()``. A
    CUDA error is a :class:`~mnistkit.common.errors.CheckError` with the driver's words.
    """

    name: ClassVar[str]
    graphs: ClassVar[bool]

    @abstractmethod
    def push(self) -> None:
        """Make the context current for this thread."""

    @abstractmethod
    def pop(self) -> None:
        """Make the context current again that was before."""

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context is current inside, and what was current before is so again afterwards."""
        self.push()
        try:
            yield
        finally:
            self.pop()

    @abstractmethod
    def stream(self) -> Stream:
        """Make a stream that does not wait for the default one."""

    @abstractmethod
    def buffer(self, nbytes: int) -> Buffer:
        """Allocate device memory."""

    @abstractmethod
    def pinned(self, nbytes: int) -> Pinned:
        """Allocate page-locked host memory."""

    @abstractmethod
    def upload(self, buffer: Buffer, pinned: Pinned, nbytes: int, stream: Stream) -> None:
        """Queue a copy of the first ``nbytes`` to the device."""

    @abstractmethod
    def download(self, pinned: Pinned, buffer: Buffer, nbytes: int, stream: Stream) -> None:
        """Queue a copy of the first ``nbytes`` from the device."""

    def begin_capture(self, stream: Stream) -> None:
        """Record what is queued from now on instead of running it."""
        raise NotImplementedError(f"{self.name} has no CUDA graphs")

    def end_capture(self, stream: Stream) -> Graph:
        """Stop recording and return the graph."""
        raise NotImplementedError(f"{self.name} has no CUDA graphs")

    @abstractmethod
    def close(self) -> None:
        """Release the context; everything that was made here must be closed before."""


def installed() -> list[str]:
    """The implementations whose library is installed, in the order of preference."""
    return [name for name, module in _MODULES.items() if _found(module)]


def missing() -> str | None:
    """Why there is no implementation to use, or None."""
    return None if installed() else f"neither pycuda nor cuda-bindings is installed; {INSTALL}"


def open_memory(device: int = 0, name: str | None = None) -> Memory:
    """Open a device's memory with the named implementation, or with the first that is installed.

    ``$MNISTKIT_GPU_MEMORY`` names one too. Raises :class:`UsageError` for an unknown name,
    :class:`MissingError` where the library or the driver is not there.
    """
    name = name or os.environ.get(VARIABLE) or next(iter(installed()), None)
    if name is None:
        raise MissingError(str(missing()))
    if name not in _MODULES:
        raise UsageError(f"GPU memory: got {name!r}, wanted one of {', '.join(_MODULES)}")
    if not _found(_MODULES[name]):
        raise MissingError(f"{name.replace('_', '-')} is not installed; {INSTALL}")
    probe.driver()  # both libraries end in errors of their own, or worse, without one
    try:
        module = importlib.import_module(f"mnistkit.backends.trt.{name}_memory")
    except ImportError as error:
        raise MissingError(f"{name} is installed but cannot be imported: {error}") from error
    memory: Memory = module.MEMORY(device)
    return memory


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
