"""What is installed, what can be used, and what would make the rest usable."""

from __future__ import annotations

import os
import shutil
from typing import Any

from mnistkit import backends
from mnistkit.backends import engine
from mnistkit.common.cpu import this_cpu
from mnistkit.common.environment import environment
from mnistkit.common.errors import MissingError, MnistkitError
from mnistkit.data.sets import search_path
from mnistkit.native.library import ENGINE
from mnistkit.runs.source import pretrained_names

_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda")
_KERNELS_VARIABLE = "MNISTKIT_KERNELS"


def examine() -> dict[str, Any]:
    """Return the environment, tools, devices, backends and data, as ``doctor --json`` writes it."""
    report: dict[str, Any] = {"environment": environment(*_PACKAGES, "numpy", "typer")}
    installed = report["environment"]["versions"]
    report["cpu"] = this_cpu().figures()
    report["kernels"] = {"engine": engine_kernels(), "torch": _torch_kernels()}
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


def engine_kernels() -> dict[str, Any]:
    """The engine's kernel sets, and the one that it will run here.

    ``chosen`` is None where none will run, for the ``reason`` that is given then: the library is
    not compiled, or ``$MNISTKIT_KERNELS`` names a set that is unknown or not for this CPU.
    """
    try:
        library = ENGINE.find()
        if library is None:
            raise MissingError(str(ENGINE.missing()))
        sets = engine.api(library).kernels()
    except MissingError as error:
        return {"chosen": None, "reason": str(error), "sets": []}
    usable = [one.name for one in sets if one.supported]
    forced = os.environ.get(_KERNELS_VARIABLE, "")
    chosen = forced or usable[0]
    reason = None
    if chosen not in usable:
        known = chosen in (one.name for one in sets)
        what = "which this CPU cannot run" if known else "which the engine does not have"
        reason = (
            f"${_KERNELS_VARIABLE} names {forced}, {what}; unset it, or choose of: "
            f"{', '.join(usable)}"
        )
    found = {"chosen": None if reason else chosen, "reason": reason}
    return {**found, "sets": [vars(one) for one in sets]}


def _torch_kernels() -> dict[str, str] | None:
    """What PyTorch would compute int8 with, and the CPU that it takes this one for, or None."""
    try:
        import torch
    except ImportError:
        return None
    return {
        "int8_engine": str(torch.backends.quantized.engine),
        "cpu_capability": str(torch.backends.cpu.get_cpu_capability()),
    }


def _cuda() -> str | None:
    """The first CUDA device's name, or None."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _mnist() -> str | None:
    """None where MNIST is on disk and whole, else what is wrong and what to do."""
    from mnistkit.data.sets import load

    try:
        load("mnist", "test", download=False)
    except MnistkitError as error:
        return str(error)
    return None
