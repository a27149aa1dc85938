"""Several processes or machines on one run, started by ``torchrun`` (data parallel).

Each process takes its share of every batch and draws its own distortions; gradients are averaged
by PyTorch's DistributedDataParallel. Batch norms see the share alone, as they do in most
frameworks. The first process scores, writes and talks. On several machines the run folder has to
be on a disk that they share, for ``--resume``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mnistkit.common.errors import UsageError


@dataclass(frozen=True)
class Workers:
    """This process among all: ``rank`` of ``count``, and its number on its own machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch's rows; the parts are equally large."""
        return rows[self.rank : len(rows) // self.count * self.count : self.count]

    def parallel(self, net: nn.Module) -> nn.Module:
        """The net with its gradients averaged over the processes; itself where it is alone."""
        return DistributedDataParallel(net) if self.count > 1 else net


ALONE = Workers()


def from_environment() -> Workers:
    """What ``torchrun`` says of this process; alone where it was not started by it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    rank, count, local = (int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Workers(rank, count, local)


@contextmanager
def joined(workers: Workers, device: str, batch_size: int) -> Iterator[None]:
    """Meet the other processes, and wait for them at the end: gloo on CPUs, NCCL on GPUs."""
    if workers.count == 1:
        yield
        return
    if batch_size < workers.count:
        raise UsageError(
            f"a batch of {batch_size} cannot be shared by {workers.count} processes; "
            f"raise --batch-size or start fewer"
        )
    dist.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()
