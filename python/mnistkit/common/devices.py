"""Devices by name: ``cpu``, ``cuda`` or ``cuda:N``, and whether PyTorch has them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from mnistkit.common.errors import MissingError, UsageError

if TYPE_CHECKING:
    import torch


def check_device(device: str) -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N``, or raise :class:`UsageError`."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"device: got {device!r}, wanted cpu, cuda or cuda:N")
    return device


INSTALL_TORCH = "PyTorch is not installed; install it with: pip install torch"


def torch_missing() -> str | None:
    """The reason why PyTorch cannot be used, or None."""
    return None if find_spec("torch") else INSTALL_TORCH


def torch_device(device: str) -> torch.device:
    """The torch device, or a :class:`MissingError` where CUDA is asked for and not there."""
    import torch

    check_device(device)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise MissingError(
            f"device {device!r} asked for, but PyTorch sees no CUDA device; check the driver with "
            f"nvidia-smi, or use --device cpu"
        )
    return torch.device(device)
