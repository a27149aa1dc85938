"""Choosing what to train on."""

from __future__ import annotations

import torch

from mnistkit.backends.torch_common import torch_device


def choose(device: str = "auto", threads: int = 0, local_rank: int = 0) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, and set the threads.

    ``auto`` is CUDA where there is a device, else the CPU; of several processes on a machine each
    takes the GPU of its ``local_rank``. Denormal numbers are flushed to zero:
    they come up as weights decay and slow a CPU down many times over.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and local_rank:
        device = f"cuda:{local_rank}"
    return str(torch_device(device))
