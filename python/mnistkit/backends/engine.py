"""The dependency-free C++ engine, in this process, through its C API."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit import engine_library
from mnistkit.artifact import Artifact
from mnistkit.backends.base import Backend, Images, Logits, Predictor, check_images
from mnistkit.backends.tolerances import EXACT, SUMS
from mnistkit.errors import ArtifactError, MissingError, MnistkitError, UsageError
from mnistkit.threads import MAX_THREADS, check_threads, usable_cores

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
                f"{path}: cannot be loaded: {error}; compile it again with: "
                f"{engine_library.BUILD_COMMAND}"
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


class EnginePredictor(Predictor):
    """A net in the engine; ``data`` are bytes that it uses in place.

    Batches are split over a pool of ``threads`` of its own: 0 takes one for each core that this
    process may use, 1 makes no pool. A process that was forked from this one has no part of the
    pool: there a predictor with one refuses (:class:`UsageError`) and can be closed.
    """

    def __init__(
        self, functions: EngineApi, handle: int, data: Any = None, threads: int = 1
    ) -> None:
        self._api, self._handle, self._data, self._pool = functions, handle, data, 0
        try:
            self.threads = check_threads(threads) or min(usable_cores(), MAX_THREADS)
            if self.threads > 1:
                pool = ctypes.c_void_p()
                functions.check(functions.pool_create(self.threads, pool))
                self._pool = pool.value or 0
        except MnistkitError:
            self.close()
            raise
        self._prepare(1)

    @property
    def kernels(self) -> str:
        """The name of the kernel set in use."""
        return str(self._api.kernels_in_use(self._handle).decode())

    @property
    def edition(self) -> int:
        """The edition of the int8 definition that the file is of; 0 for fp32."""
        return int(self._api.edition(self._handle))

    def _prepare(self, count: int) -> None:
        """Make room for batches of up to ``count``: an address costs 1 us, so they are kept."""
        self._room = count
        self._scratch = self._make_scratch(count)
        self._logits = np.empty((count, 10), np.float32)
        self._scratch_at = self._scratch.ctypes.data, self._scratch.size
        self._logits_at = self._logits.ctypes.data

    def _make_scratch(self, count: int) -> Any:
        size = self._api.parallel_scratch_size(self._handle, count, self.threads)
        return np.empty(size, np.uint8)

    def _run(self, images: Images) -> Logits:
        count = len(images)
        if count > self._room:
            self._prepare(count)
        arguments = images.ctypes.data, count, self._logits_at, *self._scratch_at
        if self._pool:
            status = self._api.run_parallel(self._handle, self._pool, *arguments)
        else:
            status = self._api.run(self._handle, *arguments)
        if status:
            self._api.check(status)
        return self._logits[:count].copy()

    def bind(self, images: Any) -> Callable[[], Any]:
        """Run with the pointers, the scratch and the output array there already."""
        checked = check_images(images)
        logits = np.empty((len(checked), 10), np.float32)
        scratch = self._make_scratch(len(checked))
        pool = [ctypes.c_void_p(self._pool)] if self._pool else []
        call = functools.partial(
            self._api.run_parallel if pool else self._api.run,
            ctypes.c_void_p(self._handle),
            *pool,
            ctypes.c_void_p(checked.ctypes.data),
            ctypes.c_size_t(len(checked)),
            ctypes.c_void_p(logits.ctypes.data),
            ctypes.c_void_p(scratch.ctypes.data),
            ctypes.c_size_t(scratch.size),
        )

        def run(_alive: Any = (checked, scratch)) -> Logits:  # the pointers own nothing
            self._api.check(call())
            return logits

        return run

    def close(self) -> None:
        """Close the engine and end its threads; a second call does nothing."""
        pool, self._pool = self._pool, 0
        if pool:
            self._api.pool_close(pool)
        handle, self._handle = self._handle, 0
        if handle:
            self._api.close(handle)

    def __del__(self) -> None:
        """Threads must not outlive a predictor that nobody has closed."""
        self.close()


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
        return engine_library.engine_missing()

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Open the artifact's file with ``$MNISTKIT_KERNELS``, or the best kernels there are.

        ``threads`` 0 takes one for each core that this process may use.
        """
        library = engine_library.engine_library()
        if library is None:
            raise MissingError(str(engine_library.engine_missing()))
        return api(library).open(artifact.file(self.format, precision), threads=threads)


BACKEND = EngineBackend()
