"""Which optimizer takes which parameters, and their momentum in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from mnistkit.nets.module import DigitNet
from mnistkit.runs.recipe import Recipe
from mnistkit.training.muon import Muon

_MUON_MOMENTUM = 0.95
_BUFFER = "momentum_buffer"  # the name that PyTorch's SGD gives it


def optimizers_for(net: DigitNet, recipe: Recipe) -> list[Optimizer]:
    """SGD and, where the recipe has it, Muon; each group names its peak rate as ``peak_lr``.

    SGD decays weights alone: a norm's scale and shift and a bias are left free.
    """
    muon = _before_norms(net.layers) if recipe.muon else []
    taken = {id(weight) for weight in muon}
    rest = [p for p in net.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
    ]
    nesterov = recipe.momentum > 0
    made: list[Optimizer] = [
        SGD(groups, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=nesterov)
    ]
    if muon:
        made.append(Muon(muon, lr=recipe.muon, momentum=_MUON_MOMENTUM))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return made


def momentum_of(net: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The momentum of each parameter that has one, by the parameter's name."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    return {
        names[parameter]: buffer
        for optimizer, parameter in _parameters(optimizers)
        if (buffer := optimizer.state[parameter].get(_BUFFER)) is not None
    }


def restore_momentum(
    net: nn.Module, optimizers: Sequence[Optimizer], momentum: Mapping[str, Tensor]
) -> None:
    """Put back what :func:`momentum_of` gave."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    for optimizer, parameter in _parameters(optimizers):
        if (kept := momentum.get(names[parameter])) is not None:
            optimizer.state[parameter][_BUFFER] = torch.empty_like(parameter).copy_(kept)


def _parameters(optimizers: Sequence[Optimizer]) -> Iterator[tuple[Optimizer, nn.Parameter]]:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield optimizer, parameter


def _before_norms(layers: nn.Sequential) -> list[Tensor]:
    """The weights of the dense convolutions that a batch norm follows at once."""
    return [
        module.weight
        for module, after in pairwise(layers)
        if isinstance(module, nn.Conv2d) and module.groups == 1
        if isinstance(after, nn.BatchNorm2d)
    ]
