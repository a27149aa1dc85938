"""The C++ runner on libtorch, in this process, through its C API."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit.artifact.folder import Artifact
from mnistkit.backends import process
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import TORCH
from mnistkit.common.devices import check_device
from mnistkit.common.errors import (
    ArtifactError,
    CheckError,
    MissingError,
    MnistkitError,
    UsageError,
)
from mnistkit.common.images import Images, Logits
from mnistkit.native.library import RUNNER

# Where the runner measures which of two graphs is faster on a CPU.
_WARMUP = (1, 16, 256)

# The numbers of mnistkit_status; the rest is a failure inside libtorch.
_ERRORS: dict[int, type[MnistkitError]] = {
    1: UsageError,  # invalid argument
    2: UsageError,  # closed
    3: MissingError,  # not found
    4: ArtifactError,  # damaged
    5: ArtifactError,  # newer schema
    6: MissingError,  # unavailable
    7: CheckError,  # self-check failed
}


_CLOSED = 2


class _Options(ctypes.Structure):
    """``mnistkit_runner_options``."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("device", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("verify", ctypes.c_int32),
        ("warmup", ctypes.POINTER(ctypes.c_int64)),
        ("warmup_count", ctypes.c_size_t),
        ("max_batch", ctypes.c_int64),
        ("cuda_graphs", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    )


class _Api:
    """The C functions of one loaded library, with their types."""

    def __init__(self, path: Path) -> None:
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise MissingError(
                f"{path}: cannot be loaded: {error}; compile it again with: {RUNNER.command}"
            ) from error
        process.here.runtimes.add("torch")
        self.last_error = library.mnistkit_last_error
        self.last_error.restype = ctypes.c_char_p
        self.options_init = library.mnistkit_runner_options_init_sized
        self.options_init.restype = None
        self.options_init.argtypes = [ctypes.POINTER(_Options), ctypes.c_size_t]
        self.open = library.mnistkit_runner_open
        self.open.argtypes = [
            ctypes.c_char_p,
            ctypes.POINTER(_Options),
            ctypes.POINTER(ctypes.c_void_p),
        ]
        self.logits = library.mnistkit_runner_logits
        self.logits.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_size_t,
        ]
        self.close = library.mnistkit_runner_close
        self.close.argtypes = [ctypes.c_void_p]

    def check(self, status: int) -> None:
        """Raise what the status stands for, with the library's own words."""
        if status:
            text = self.last_error().decode("utf-8", "replace")
            raise _ERRORS.get(status, MnistkitError)(text)


@functools.cache
def _api(path: Path) -> _Api:
    return _Api(path)


class _RunnerPredictor(Predictor):
    def __init__(self, api: _Api, handle: int) -> None:
        self._api, self._handle = api, handle  # a number, which the library refuses once closed
        self._open = [handle]

    def _run(self, images: Images) -> Logits:
        logits = np.empty((len(images), 10), np.float32)
        status = self._api.logits(
            self._handle, images.ctypes.data, images.nbytes, logits.ctypes.data, logits.size
        )
        if status == _CLOSED and self._closed:  # by another thread, since the call began
            self._refuse()
        self._api.check(status)
        return logits

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Run with the pointers and the output array there already."""
        logits = np.empty((len(images), 10), np.float32)
        call = functools.partial(
            self._api.logits,
            ctypes.c_void_p(self._handle),
            ctypes.c_void_p(images.ctypes.data),
            ctypes.c_size_t(images.nbytes),
            ctypes.c_void_p(logits.ctypes.data),
            ctypes.c_size_t(logits.size),
        )

        def run(_alive: Images = images) -> Logits:  # the pointers own nothing
            self._api.check(call())
            return logits

        return run

    def _release(self) -> None:
        if self._open:
            self._api.check(self._api.close(self._open.pop()))


class LibtorchBackend(Backend):
    """Loads the artifact's TorchScript file into :class:`mnistkit::Runner`."""

    name = "libtorch"
    description = "the C++ runner on libtorch"
    format = "torchscript"
    precisions = ("fp32", "fp16", "int8")
    tolerances = TORCH
    devices = ("cpu", "cuda")
    cuda_only = ("fp16",)

    def available(self) -> str | None:
        """None where the runner is compiled for the PyTorch of this environment."""
        return RUNNER.missing()

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Open the artifact folder; the runner checks the file's hash."""
        library = RUNNER.find()
        if library is None:
            raise MissingError(str(RUNNER.missing()))
        artifact.file(self.format, precision)
        api = _api(library)
        options = _Options()
        api.options_init(options, ctypes.sizeof(options))
        options.device = check_device(device).encode()
        options.precision = precision.encode()
        options.threads = process.torch_threads(threads)
        options.verify = 0  # Backend.load does it, for every runtime alike
        options.warmup = (ctypes.c_int64 * len(_WARMUP))(*_WARMUP)
        options.warmup_count = len(_WARMUP)
        handle = ctypes.c_void_p()
        api.check(api.open(str(artifact.path).encode(), options, handle))
        return _RunnerPredictor(api, handle.value or 0)


BACKEND = LibtorchBackend()
