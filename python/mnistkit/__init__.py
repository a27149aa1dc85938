"""mnistkit: train, quantize, export and deploy small MNIST nets, with proof that they agree.

>>> import mnistkit
>>> artifact = mnistkit.export("nano", "out", formats=["onnx", "native"], force=True)
>>> report = mnistkit.verify("out", "digits", backends=["engine", "onnxruntime"])
>>> report.passed
True

What ``__all__`` lists is the public face; all else may change with any release. A name is imported
when it is used first, so ``import mnistkit`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mnistkit.common.errors import (
    ArtifactError,
    CheckError,
    InputError,
    MissingError,
    MnistkitError,
    SpecError,
    UsageError,
)

if TYPE_CHECKING:
    from mnistkit import nets
    from mnistkit.api.make import quantize, train
    from mnistkit.api.use import bench, evaluate, load, predict, verify
    from mnistkit.artifact.folder import Artifact
    from mnistkit.backends.base import Predictor
    from mnistkit.data.sets import ImageSet
    from mnistkit.export.writer import export_source as export
    from mnistkit.nets.spec import NetSpec
    from mnistkit.runs.recipe import Recipe

__version__ = "0.1.0"

# Where each lazy name is. The folder `export` can be called itself.
_PLACES = {
    "Artifact": "artifact.folder",
    "ImageSet": "data.sets",
    "NetSpec": "nets.spec",
    "Predictor": "backends.base",
    "Recipe": "runs.recipe",
    "bench": "api.use",
    "evaluate": "api.use",
    "load": "api.use",
    "predict": "api.use",
    "quantize": "api.make",
    "train": "api.make",
    "verify": "api.use",
}
_FOLDERS = ("export", "nets")


def __getattr__(name: str) -> Any:
    """Import a public name when it is used first."""
    if name in _FOLDERS:
        return importlib.import_module(f"mnistkit.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'mnistkit' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"mnistkit.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Artifact",
    "ArtifactError",
    "CheckError",
    "ImageSet",
    "InputError",
    "MissingError",
    "MnistkitError",
    "NetSpec",
    "Predictor",
    "Recipe",
    "SpecError",
    "UsageError",
    "__version__",
    "bench",
    "evaluate",
    "export",
    "load",
    "nets",
    "predict",
    "quantize",
    "train",
    "verify",
]
