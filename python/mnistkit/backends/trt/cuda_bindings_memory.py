"""Device memory through NVIDIA's cuda-bindings (wheels alone, nothing to compile), with graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import driver as cuda
from numpy.typing import NDArray

from mnistkit.backends.trt.memory import Buffer, Graph, Memory, Pinned, Stream
from mnistkit.common.errors import CheckError


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a driver function: its values without the error code, or :class:`CheckError`."""
    code, *values = function(*arguments)
    if int(code):
        known, text = cuda.cuGetErrorString(code)
        words = f"error {int(code)}" if int(known) or text is None else text.decode()
        raise CheckError(f"CUDA: {function.__name__}: {words}")
    return values[0] if values else None


class _Stream:
    def __init__(self) -> None:
        self.stream: Any = _call(cuda.cuStreamCreate, cuda.CUstream_flags.CU_STREAM_NON_BLOCKING)

    @property
    def handle(self) -> int:
        return int(self.stream)

    def synchronize(self) -> None:
        _call(cuda.cuStreamSynchronize, self.stream)

    def close(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            _call(cuda.cuStreamDestroy, stream)


class _Buffer:
    def __init__(self, nbytes: int) -> None:
        self._pointer: Any = _call(cuda.cuMemAlloc, nbytes)

    @property
    def address(self) -> int:
        return int(self._pointer)

    def close(self) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            _call(cuda.cuMemFree, pointer)


class _Pinned:
    def __init__(self, nbytes: int) -> None:
        self.address: int | None = int(_call(cuda.cuMemHostAlloc, nbytes, 0))
        block = (ctypes.c_uint8 * nbytes).from_address(self.address)
        self._array: NDArray[np.uint8] | None = np.ctypeslib.as_array(block)

    @property
    def array(self) -> NDArray[np.uint8]:
        assert self._array is not None
        return self._array

    def close(self) -> None:
        address, self.address, self._array = self.address, None, None
        if address is not None:
            _call(cuda.cuMemFreeHost, address)


class _Graph:
    def __init__(self, recorded: Any) -> None:
        try:
            self._graph: Any = _call(cuda.cuGraphInstantiate, recorded, 0)
        finally:
            _call(cuda.cuGraphDestroy, recorded)

    def launch(self, stream: Stream) -> None:
        assert isinstance(stream, _Stream)
        _call(cuda.cuGraphLaunch, self._graph, stream.stream)

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            _call(cuda.cuGraphExecDestroy, graph)


class CudaBindingsMemory(Memory):
    """The primary context through the driver API."""

    name = "cuda_bindings"
    graphs = True

    def __init__(self, device: int) -> None:
        _call(cuda.cuInit, 0)
        self._device: Any = _call(cuda.cuDeviceGet, device)
        self._context: Any = _call(cuda.cuDevicePrimaryCtxRetain, self._device)

    def push(self) -> None:
        """Make the context current for this thread."""
        _call(cuda.cuCtxPushCurrent, self._context)

    def pop(self) -> None:
        """Make the context current again that was before."""
        _call(cuda.cuCtxPopCurrent)

    def stream(self) -> Stream:
        """Make a stream that does not wait for the default one."""
        return _Stream()

    def buffer(self, nbytes: int) -> Buffer:
        """Allocate device memory."""
        return _Buffer(nbytes)

    def pinned(self, nbytes: int) -> Pinned:
        """Allocate page-locked host memory."""
        return _Pinned(nbytes)

    def upload(self, buffer: Buffer, pinned: Pinned, nbytes: int, stream: Stream) -> None:
        """Queue a copy of the first ``nbytes`` to the device."""
        assert isinstance(pinned, _Pinned)
        assert isinstance(stream, _Stream)
        source = pinned.address
        _call(cuda.cuMemcpyHtoDAsync, buffer.address, source, nbytes, stream.stream)

    def download(self, pinned: Pinned, buffer: Buffer, nbytes: int, stream: Stream) -> None:
        """Queue a copy of the first ``nbytes`` from the device."""
        assert isinstance(pinned, _Pinned)
        assert isinstance(stream, _Stream)
        target = pinned.address
        _call(cuda.cuMemcpyDtoHAsync, target, buffer.address, nbytes, stream.stream)

    def begin_capture(self, stream: Stream) -> None:
        """Record what this thread queues from now on instead of running it."""
        assert isinstance(stream, _Stream)
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(cuda.cuStreamBeginCapture, stream.stream, mode)

    def end_capture(self, stream: Stream) -> Graph:
        """Stop recording and return the graph."""
        assert isinstance(stream, _Stream)
        return _Graph(_call(cuda.cuStreamEndCapture, stream.stream))

    def close(self) -> None:
        """Release the context; a second call does nothing."""
        context, self._context = self._context, None
        if context is not None:
            _call(cuda.cuDevicePrimaryCtxRelease, self._device)


MEMORY = CudaBindingsMemory
