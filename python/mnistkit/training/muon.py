"""Muon: momentum whose step is made orthogonal, for the convolutions that a batch norm follows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized by a Newton-Schulz iteration (Jordan et al. 2024).

    A weight ``(out, in, kh, kw)`` is taken as a matrix ``(out, in * kh * kw)``. Each is brought
    back to the norm ``sqrt(out)`` before its step: the batch norm behind it takes any scale, so
    the learning rate alone decides how far a step turns it, and no weight decay is needed.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float, momentum: float) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one step from the gradients that are there; ``closure`` is not used."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, weight.grad, group["lr"], group["momentum"])

    def _step(self, weight: Tensor, grad: Tensor, lr: float, momentum: float) -> None:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        nesterov = grad.lerp(buffer, momentum)
        rows = len(weight)
        update = orthogonal(nesterov.reshape(rows, -1)).reshape(weight.shape)
        tall = max(1.0, rows / weight[0].numel()) ** 0.5
        weight.mul_(rows**0.5 / weight.norm()).add_(update, alpha=-lr * tall)


def orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to a matrix, roughly: singular values of 0.7 to 1.2.

    Five steps of a quintic Newton-Schulz iteration with the coefficients of the source, which
    rise fast from zero instead of settling at one.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.size(0) > matrix.size(1)
    x: Tensor = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
