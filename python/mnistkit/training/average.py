"""Exponential moving average of a module's weights and batch statistics."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)


class WeightAverage(Generic[_Module]):
    """Keeps ``average``, a module whose floating-point state trails that of the trained one.

    The decay ramps up as ``(1 + t) / (10 + t)`` until it reaches its setting, so early steps
    do not weigh on the mean.
    """

    def __init__(self, module: _Module, decay: float) -> None:
        self.average = copy.deepcopy(module)
        self.average.eval().requires_grad_(False)
        self._decay = decay
        self._source = _floats(module)
        self._target = _floats(self.average)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the module after optimizer step number ``step`` (from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._target, self._source, 1 - decay)


def _floats(module: nn.Module) -> list[Tensor]:
    return [value for value in module.state_dict().values() if value.is_floating_point()]
