"""The dependency-free C++ engine, in this process, through its C API."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import EXACT, SUMS
from mnistkit.common.errors import ArtifactError, MissingError, MnistkitError, UsageError
from mnistkit.common.images import Images, Logits
from mnistkit.common.threads import MAX_THREADS, check_threads, usable_cores
from mnistkit.native.library import ENGINE

# The numbers of mnistkit_engine_status.
_ERRORS: dict[int, type[MnistkitError]] = {
    1: UsageError,  # invalid argument
    2: MissingError,  # not found
    3: ArtifactError,  # a rule of the format is broken
    4: ArtifactError,  # newer file
    5: UsageError,  # kernels that are unknown, or that this CPU lacks
    7: MissingError,  # threads that the system does not give
}


@dataclass(frozen=True)
class Kernels:
    """One of the engine's kernel sets."""

    name: str
    description: str
    supported: bool


class EngineApi:
    """The C functions of one loaded library, with their types."""

    def __init__(self, path: Path) -> None:
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise MissingError(
                f"{path}: cannot be loaded: {error}; compile it again with: {ENGINE.command}"
            ) from error
        pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p

        def function(name: str, result: Any, *arguments: Any) -> Any:
            made = getattr(library, f"mnistkit_engine_{name}")
            made.restype, made.argtypes = result, list(arguments)
            return made

        self._last_error = function("last_error", text)
        self._kernel_name = function("kernel_name", text, size)
        self._kernel_description = function("kernel_description", text, size)
        self._kernel_supported = function("kernel_supported", ctypes.c_int, size)
        self._kernel_count = function("kernel_count", size)
        self._kernel_peak = function(
            "kernel_peak", ctypes.c_uint64, size, ctypes.c_int, ctypes.c_uint64
        )
        self._open = function(
            "open", ctypes.c_int, pointer, size, text, ctypes.POINTER(ctypes.c_void_p)
        )
        self._open_file = function(
            "open_file", ctypes.c_int, text, text, ctypes.POINTER(ctypes.c_void_p)
        )
        self.scratch_size = function("scratch_size", size, pointer, size)
        self.run = function("run", ctypes.c_int, pointer, pointer, size, pointer, pointer, size)
        self.pool_create = function(
            "pool_create", ctypes.c_int, size, ctypes.POINTER(ctypes.c_void_p)
        )
        self.pool_close = function("pool_close", None, pointer)
        self.parallel_scratch_size = function("parallel_scratch_size", size, pointer, size, size)
        self.run_parallel = function(
            "run_parallel", ctypes.c_int, pointer, pointer, pointer, size, pointer, pointer, size
        )
        self.kernels_in_use = function("kernels", text, pointer)
        self.edition = function("edition", ctypes.c_int, pointer)
        self.close = function("close", None, pointer)

    def kernels(self) -> list[Kernels]:
        """The kernel sets in the library, fastest first."""
        return [
            Kernels(
                self._kernel_name(i).decode(),
                self._kernel_description(i).decode(),
                bool(self._kernel_supported(i)),
            )
            for i in range(self._kernel_count())
        ]

    def peak(self, index: int, precision: str, steps: int) -> int:
        """Do ``steps`` steps of nothing but the multiply-adds of a kernel set, by its place in
        :meth:`kernels`; return how many those were, 0: none.
        """
        return int(self._kernel_peak(index, precision == "int8", steps))

    def open(self, path: Path, kernels: str = "", threads: int = 1) -> EnginePredictor:
        """Open a `.mnk` file with the named kernels, or with the best there are."""
        handle = ctypes.c_void_p()
        self.check(self._open_file(str(path).encode(), kernels.encode(), handle))
        return EnginePredictor(self, handle.value or 0, threads=threads)

    def open_bytes(self, data: bytes, kernels: str = "", threads: int = 1) -> EnginePredictor:
        """Open a `.mnk` file's bytes, copied once to where they are aligned."""
        room = np.empty(len(data) + 64, np.uint8)
        start = -room.ctypes.data % 64
        room[start : start + len(data)] = np.frombuffer(data, np.uint8)
        handle = ctypes.c_void_p()
        self.check(self._open(room.ctypes.data + start, len(data), kernels.encode(), handle))
        return EnginePredictor(self, handle.value or 0, room, threads)

    def check(self, status: int) -> None:
        """Raise what the status stands for, with the library's own words."""
        if status:
            text = self._last_error().decode("utf-8", "replace")
            raise _ERRORS.get(status, MnistkitError)(text)


@functools.cache
def api(path: Path) -> EngineApi:
    """The functions of the library at ``path``."""
    return EngineApi(path)


class _Net:
    """An open engine and its pool, closed when nothing refers to them: a call in some thread may.

    ``data`` are bytes that the engine uses in place.
    """

    def __init__(self, functions: EngineApi, handle: int, data: Any, threads: int) -> None:
        self.api, self.handle, self._data, self.pool = functions, handle, data, 0
        self.threads = check_threads(threads) or min(usable_cores(), MAX_THREADS)
        if self.threads > 1:
            pool = ctypes.c_void_p()
            functions.check(functions.pool_create(self.threads, pool))
            self.pool = pool.value or 0
            self.run = functools.partial(functions.run_parallel, handle, self.pool)
        else:
            self.run = functools.partial(functions.run, handle)

    def scratch(self, count: int) -> NDArray[np.uint8]:
        """Scratch for batches of up to ``count`` images."""
        return np.empty(self.api.parallel_scratch_size(self.handle, count, self.threads), np.uint8)

    def __del__(self) -> None:
        if self.pool:
            self.api.pool_close(self.pool)
        self.api.close(self.handle)


class _Space:
    """Where one call works: scratch and logits for up to ``room`` images.

    It is kept for the next call: an array's address costs 1 us.
    """

    __slots__ = ("_scratch", "at", "logits", "room")

    def __init__(self, net: _Net, room: int) -> None:
        self.room = room
        self.logits = np.empty((room, 10), np.float32)
        self._scratch = net.scratch(room)
        self.at = self.logits.ctypes.data, self._scratch.ctypes.data, self._scratch.size


class EnginePredictor(Predictor):
    """A net in the engine; ``data`` are bytes that it uses in place.

    Batches are split over a pool of ``threads`` of its own: 0 takes one for each core that this
    process may use, 1 makes no pool. Calls from several threads run at once, each in a work space
    of its own; those that use the pool take turns on it.
    """

    def __init__(
        self, functions: EngineApi, handle: int, data: Any = None, threads: int = 1
    ) -> None:
        self._api = functions
        self._net: _Net | None = _Net(functions, handle, data, threads)
        self._idle = [_Space(self._net, 1)]  # append and pop are each one step

    def _held(self) -> _Net:
        if (net := self._net) is None:
            self._refuse()
        return net

    @property
    def _handle(self) -> int:
        return self._held().handle

    @property
    def threads(self) -> int:
        """The threads of the pool with the calling one; 1 without a pool."""
        return self._held().threads

    @property
    def kernels(self) -> str:
        """The name of the kernel set in use."""
        return str(self._api.kernels_in_use(self._handle).decode())

    @property
    def edition(self) -> int:
        """The edition of the int8 definition that the file is of; 0 for fp32."""
        return int(self._api.edition(self._handle))

    def _run(self, images: Images) -> Logits:
        net, idle, count = self._net, self._idle, len(images)
        if net is None:
            self._refuse()
        try:
            space = idle.pop()
        except IndexError:
            space = _Space(net, count)
        if count > space.room:
            space = _Space(net, count)
        status = net.run(images.ctypes.data, count, *space.at)
        if status:
            net.api.check(status)
        logits = space.logits[:count].copy()
        idle.append(space)
        return logits

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Run with the pointers, the scratch and the output array there already."""
        net = self._held()
        logits = np.empty((len(images), 10), np.float32)
        scratch = net.scratch(len(images))
        pool = [ctypes.c_void_p(net.pool)] if net.pool else []
        call = functools.partial(
            self._api.run_parallel if pool else self._api.run,
            ctypes.c_void_p(net.handle),
            *pool,
            ctypes.c_void_p(images.ctypes.data),
            ctypes.c_size_t(len(images)),
            ctypes.c_void_p(logits.ctypes.data),
            ctypes.c_void_p(scratch.ctypes.data),
            ctypes.c_size_t(scratch.size),
        )

        def run(_alive: Any = (net, images, scratch)) -> Logits:  # the pointers own nothing
            self._api.check(call())
            return logits

        return run

    def _release(self) -> None:
        """The engine is closed and its threads end once no other thread is in a call."""
        self._net, self._idle = None, []


class EngineBackend(Backend):
    """Loads the artifact's `.mnk` file."""

    name = "engine"
    description = "the dependency-free C++ engine"
    format = "native"
    precisions = ("fp32", "int8")
    tolerances = {"fp32": SUMS, "int8": EXACT}  # noqa: RUF012
    int8_is_exact = True

    def available(self) -> str | None:
        """None where the library is in the wheel or was compiled."""
        return ENGINE.missing()

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Open the artifact's file with ``$MNISTKIT_KERNELS``, or the best kernels there are.

        ``threads`` 0 takes one for each core that this process may use.
        """
        library = ENGINE.find()
        if library is None:
            raise MissingError(str(ENGINE.missing()))
        return api(library).open(artifact.file(self.format, precision), threads=threads)


BACKEND = EngineBackend()
