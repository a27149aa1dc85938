"""What is installed, what can be used, and what would make the rest usable."""

from __future__ import annotations

import shutil
from typing import Any

from mnistkit import backends
from mnistkit.data import search_path
from mnistkit.environment import environment
from mnistkit.errors import MnistkitError
from mnistkit.source import pretrained_names

_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda")


def examine() -> dict[str, Any]:
    """Return the environment, tools, devices, backends and data, as ``doctor --json`` writes it."""
    report: dict[str, Any] = {"environment": environment(*_PACKAGES, "numpy", "typer")}
    installed = report["environment"]["versions"]
    report["not_installed"] = [name for name in _PACKAGES if name not in installed]
    report["tools"] = {name: shutil.which(name) for name in ("cmake", "ninja", "c++", "nvidia-smi")}
    report["cuda"] = _cuda()
    report["backends"] = [
        {
            "name": backend.name,
            "description": backend.description,
            "precisions": list(backend.precisions),
            "devices": list(backend.devices),
            "reason": backend.available(),
        }
        for backend in backends.all_backends()
    ]
    report["data_folders"] = [str(folder) for folder in search_path()]
    report["mnist"] = _mnist()
    report["pretrained"] = pretrained_names()
    return report


def _cuda() -> str | None:
    """The first CUDA device's name, or None."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _mnist() -> str | None:
    """None where MNIST is on disk and whole, else what is wrong and what to do."""
    from mnistkit.data import load

    try:
        load("mnist", "test", download=False)
    except MnistkitError as error:
        return str(error)
    return None
