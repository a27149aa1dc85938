"""Device memory through pycuda. It has no CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from mnistkit.backends.trt.memory import Buffer, Memory, Pinned, Stream
from mnistkit.common.errors import CheckError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda has no name for


@contextmanager
def _errors() -> Iterator[None]:
    """Turn pycuda's errors, which share one base class, into ours."""
    try:
        yield
    except cuda.Error as error:
        raise CheckError(f"pycuda: {error}") from error


class _Stream:
    def __init__(self) -> None:
        self.stream: Any = cuda.Stream(_NON_BLOCKING)

    @property
    def handle(self) -> int:
        return int(self.stream.handle)

    def synchronize(self) -> None:
        with _errors():
            self.stream.synchronize()

    def close(self) -> None:
        self.stream = None  # pycuda destroys it with the last reference


class _Buffer:
    def __init__(self, nbytes: int) -> None:
        self._allocation: Any = cuda.mem_alloc(nbytes)

    @property
    def address(self) -> int:
        return int(self._allocation)

    def close(self) -> None:
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            with _errors():
                allocation.free()


class _Pinned:
    def __init__(self, nbytes: int) -> None:
        self._array: NDArray[np.uint8] | None = cuda.pagelocked_empty(nbytes, np.uint8)

    @property
    def array(self) -> NDArray[np.uint8]:
        assert self._array is not None
        return self._array

    def close(self) -> None:
        self._array = None  # freed with the last view of it


class PycudaMemory(Memory):
    """The primary context through pycuda: retained, and pushed by hand, for retaining does not."""

    name = "pycuda"
    graphs = False

    def __init__(self, device: int) -> None:
        with _errors():
            cuda.init()
            self._context: Any = cuda.Device(device).retain_primary_context()

    def push(self) -> None:
        """Make the context current for this thread."""
        with _errors():
            self._context.push()

    def pop(self) -> None:
        """Make the context current again that was before."""
        with _errors():
            cuda.Context.pop()

    def stream(self) -> Stream:
        """Make a stream that does not wait for the default one."""
        with _errors():
            return _Stream()

    def buffer(self, nbytes: int) -> Buffer:
        """Allocate device memory."""
        with _errors():
            return _Buffer(nbytes)

    def pinned(self, nbytes: int) -> Pinned:
        """Allocate page-locked host memory."""
        with _errors():
            return _Pinned(nbytes)

    def upload(self, buffer: Buffer, pinned: Pinned, nbytes: int, stream: Stream) -> None:
        """Queue a copy of the first ``nbytes`` to the device."""
        assert isinstance(stream, _Stream)
        with _errors():
            cuda.memcpy_htod_async(buffer.address, pinned.array[:nbytes], stream.stream)

    def download(self, pinned: Pinned, buffer: Buffer, nbytes: int, stream: Stream) -> None:
        """Queue a copy of the first ``nbytes`` from the device."""
        assert isinstance(stream, _Stream)
        with _errors():
            cuda.memcpy_dtoh_async(pinned.array[:nbytes], buffer.address, stream.stream)

    def close(self) -> None:
        """Release the context; a second call does nothing."""
        context, self._context = self._context, None
        if context is not None:
            with _errors():
                context.detach()


MEMORY = PycudaMemory
