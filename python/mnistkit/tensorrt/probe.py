"""Ask the NVIDIA driver what is there, before any library that would crash without it is loaded.

Only ``libcuda`` is opened, through ctypes, and no context is made: PyTorch, TensorRT and pycuda
find the process as it was. (``tensorrt.Runtime`` on a machine without a driver takes the whole
interpreter down when it exits; that is why this comes first.)
"""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass

from mnistkit.common.errors import MissingError, UsageError

_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16  # CUdevice_attribute
_LIBRARIES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
_HINT = "check the driver with nvidia-smi"


@dataclass(frozen=True)
class Gpu:
    """One CUDA device: ``arch`` is its compute capability, for example ``9.0``."""

    index: int
    name: str
    arch: str
    multiprocessors: int


@dataclass(frozen=True)
class Driver:
    """The driver's CUDA version, for example ``13.0``, and the devices that it sees."""

    version: str
    gpus: tuple[Gpu, ...]


class _AbsentError(Exception):
    """Why there is no GPU to use."""


@functools.cache
def _examine() -> Driver | str:
    """The driver, or the reason why there is none to use."""
    try:
        return _ask()
    except _AbsentError as reason:
        return str(reason)


def _ask() -> Driver:
    library = _open()

    def call(name: str, *arguments: object) -> None:
        try:
            function = getattr(library, name)
        except AttributeError:
            raise _AbsentError(f"the NVIDIA driver lacks {name}: not a driver library") from None
        if code := function(*arguments):
            raise _AbsentError(f"the NVIDIA driver answers {name} with error {code}; {_HINT}")

    call("cuInit", 0)
    number = ctypes.c_int()
    call("cuDriverGetVersion", ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    call("cuDeviceGetCount", ctypes.byref(number))
    gpus = []
    for index in range(number.value):
        device, value = ctypes.c_int(), ctypes.c_int()
        name = ctypes.create_string_buffer(256)
        call("cuDeviceGet", ctypes.byref(device), index)
        call("cuDeviceGetName", name, len(name), device)
        found = []
        for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
            call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
            found.append(value.value)
        text = name.value.decode("utf-8", "replace")
        gpus.append(Gpu(index, text, f"{found[0]}.{found[1]}", found[2]))
    if not gpus:
        raise _AbsentError(f"the NVIDIA driver sees no GPU; {_HINT}")
    return Driver(version, tuple(gpus))


def _open() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise _AbsentError(f"there is no NVIDIA driver here ({_LIBRARIES[0]} is not found)")


def missing() -> str | None:
    """Why there is no GPU to use, or None where there is one."""
    found = _examine()
    return found if isinstance(found, str) else None


def driver() -> Driver:
    """The driver and its devices, or :class:`MissingError` with the reason."""
    found = _examine()
    if isinstance(found, str):
        raise MissingError(found)
    return found


def gpu(index: int = 0) -> Gpu:
    """The device of that index.

    Raises :class:`MissingError` without a driver, :class:`UsageError` for an index that is not
    there.
    """
    gpus = driver().gpus
    if not 0 <= index < len(gpus):
        raise UsageError(f"device cuda:{index}: there are {len(gpus)} here, from cuda:0 on")
    return gpus[index]
