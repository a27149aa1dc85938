"""The runtimes: one file each, and the registry that finds them."""

from __future__ import annotations

import importlib

from mnistkit.backends.base import Backend, Predictor
from mnistkit.common.errors import MissingError, UsageError
from mnistkit.common.images import check_images

# In the order in which tables list them; the name is the module's, and each module ends in
# ``BACKEND``, so that naming a backend imports no runtime.
NAMES = (
    "eager",
    "torchscript",
    "onnxruntime",
    "openvino",
    "libtorch",
    "engine",
    "c",
    "tensorrt",
    "tensorrt_rtx",
    "reference",
)


def get(name: str) -> Backend:
    """Return the backend of that name, available or not."""
    if name not in NAMES:
        raise UsageError(f"unknown backend {name!r}; known: {', '.join(NAMES)}")
    backend: Backend = importlib.import_module(f"mnistkit.backends.{name}").BACKEND
    return backend


def require(name: str) -> Backend:
    """Return an available backend, or raise :class:`MissingError` with its reason."""
    backend = get(name)
    if reason := backend.available():
        raise MissingError(f"backend {name!r} is not available: {reason}")
    return backend


def all_backends() -> list[Backend]:
    """Every backend, available or not."""
    return [get(name) for name in NAMES]


__all__ = ["NAMES", "Backend", "Predictor", "all_backends", "check_images", "get", "require"]
