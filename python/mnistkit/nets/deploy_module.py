"""The deploy graph as a torch module: the reference that every runtime is held to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistkit.nets.deploy import INPUT_SCALE, AvgPoolOp, ConvOp, DeployGraph, MaxPoolOp


class DeployNet(nn.Module):
    """uint8 ``(N, 1, 28, 28)`` in, float32 logits ``(N, 10)`` out; computes in ``dtype``."""

    def __init__(self, graph: DeployGraph, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.ops = nn.Sequential(*(_module(op) for op in graph.ops)).to(dtype)
        self.eval().requires_grad_(False)

    def forward(self, input: Tensor) -> Tensor:  # the contract names the tensor "input"
        """Return float32 logits ``(N, 10)`` for uint8 images ``(N, 1, 28, 28)``."""
        logits: Tensor = self.ops(input.to(self.dtype) * INPUT_SCALE)
        return logits.flatten(1).float()


class _ConvReLU(nn.Module):
    def __init__(self, op: ConvOp) -> None:
        super().__init__()
        out, per_group, kernel, _ = op.weight.shape
        self.conv = nn.Conv2d(
            per_group * op.groups, out, kernel, op.stride, op.padding, groups=op.groups
        )
        self.conv.weight = nn.Parameter(torch.from_numpy(op.weight.copy()))
        self.conv.bias = nn.Parameter(torch.from_numpy(op.bias.copy()))

    def forward(self, values: Tensor) -> Tensor:
        return F.relu(self.conv(values))


def _module(op: ConvOp | MaxPoolOp | AvgPoolOp) -> nn.Module:
    match op:
        case ConvOp(relu=True):
            return _ConvReLU(op)
        case ConvOp():
            return _ConvReLU(op).conv
        case MaxPoolOp():
            return nn.MaxPool2d(op.size)
        case AvgPoolOp():
            return nn.AdaptiveAvgPool2d(1)
