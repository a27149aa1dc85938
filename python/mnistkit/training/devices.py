"""Choosing what to train on."""

from __future__ import annotations

import ctypes
import sys

import torch

from mnistkit.common.devices import torch_device


def choose(device: str = "auto", threads: int = 0, local_rank: int = 0) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, and set the threads.

    ``auto`` is CUDA where there is a device, else the CPU; of several processes on a machine each
    takes the GPU of its ``local_rank``. Denormal numbers are flushed to zero:
    they come up as weights decay and slow a CPU down many times over.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and local_rank:
        device = f"cuda:{local_rank}"
    return str(torch_device(device))


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed: a step frees and takes the same large tensors again.

    By default each of them is a mapping of its own, whose pages are cleared and faulted in anew:
    up to 60 % of a training step on a CPU (docs/research/training.md).
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return  # another C library
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**28)
    mallopt(mmap_max, 0)
