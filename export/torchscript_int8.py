"""The int8 net as a torch module that runs real int8 kernels on a CPU.

PyTorch's quantized convolutions read activations as quint8. The definition's integers 0..127 (or,
where no ReLU precedes, -128..127) are carried there with zero point 0 (or 128), so the products
are the same; and as quint8 reaches to 255, a clamp keeps what follows a ReLU at 127.
"""

from __future__ import annotations

import warnings

import torch
from mnistkit.nets.deploy import INPUT_SCALE
from mnistkit.quantization.graph import (
    INPUT_QUANT_SCALE,
    QMAX,
    Int8AvgPool,
    Int8Conv,
    Int8Graph,
    Int8MaxPool,
)
from torch import Tensor, nn

_MIDDLE = 128  # zero point that carries -128..127 in quint8


class Int8Net(nn.Module):
    """uint8 ``(N, 1, 28, 28)`` in, float32 logits ``(N, 10)`` out."""

    def __init__(self, graph: Int8Graph) -> None:
        super().__init__()
        self.ops = nn.Sequential(*(_module(op) for op in graph.ops))
        self.eval().requires_grad_(False)

    def forward(self, input: Tensor) -> Tensor:  # the contract names the tensor "input"
        """Quantize, run the integer net, and flatten its logits."""
        real = (input.float() * INPUT_SCALE).contiguous(memory_format=torch.channels_last)
        values = torch.quantize_per_tensor(real, float(INPUT_QUANT_SCALE), 0, torch.quint8)
        logits: Tensor = self.ops(values)
        return logits.flatten(1)


def _module(op: Int8Conv | Int8MaxPool | Int8AvgPool) -> nn.Module:
    match op:
        case Int8Conv(out_scale=None):
            return _LastConv(op)
        case Int8Conv():
            return _Conv(op)
        case Int8MaxPool():
            return nn.MaxPool2d(op.size)
        case Int8AvgPool():
            return _AvgPool(op)


class _Conv(nn.Module):
    """int8 convolution, requantized; the ReLU is fused into it."""

    def __init__(self, op: Int8Conv) -> None:
        super().__init__()
        assert op.out_scale is not None
        self.scale, self.relu = float(op.out_scale), op.relu
        self.zero_point = 0 if op.relu else _MIDDLE
        self.limit = float(op.out_scale) * QMAX
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.ao's deprecation: its kernels work and stay
            weight = torch._make_per_channel_quantized_tensor(
                torch.from_numpy(op.weight.copy()),
                torch.from_numpy(op.weight_scale.astype("float64")),
                torch.zeros(len(op.weight), dtype=torch.int64),
                0,
            )
            self.packed = torch.ops.quantized.conv2d_prepack(
                weight,
                torch.from_numpy((op.bias * op.acc_scale).astype("float32")),
                [op.stride] * 2,
                [op.padding] * 2,
                [1, 1],
                op.groups,
            )

    def forward(self, values: Tensor) -> Tensor:
        """quint8 in, quint8 out."""
        if not self.relu:
            result: Tensor = torch.ops.quantized.conv2d(
                values, self.packed, self.scale, self.zero_point
            )
            return result
        result = torch.ops.quantized.conv2d_relu(values, self.packed, self.scale, 0)
        return torch.clamp(result, 0.0, self.limit)


class _LastConv(nn.Module):
    """The last convolution gives logits in float: its integers, dequantized, in a float kernel."""

    def __init__(self, op: Int8Conv) -> None:
        super().__init__()
        scale = op.weight_scale[:, None, None, None]
        out, per_group, kernel, _ = op.weight.shape
        self.conv = nn.Conv2d(
            per_group * op.groups, out, kernel, op.stride, op.padding, groups=op.groups
        )
        self.conv.weight = nn.Parameter(torch.from_numpy(op.weight * scale))
        self.conv.bias = nn.Parameter(torch.from_numpy((op.bias * op.acc_scale).astype("float32")))

    def forward(self, values: Tensor) -> Tensor:
        """quint8 in, float out."""
        result: Tensor = self.conv(values.dequantize())
        return result


class _AvgPool(nn.Module):
    """Average over the map: of int8 values, or of the last convolution's float ones."""

    def __init__(self, op: Int8AvgPool) -> None:
        super().__init__()
        self.scale = None if op.out_scale is None else float(op.out_scale)

    def forward(self, values: Tensor) -> Tensor:
        """quint8 in and out, or float in and out."""
        if self.scale is None:
            return values.mean((2, 3), keepdim=True)
        mean = values.dequantize().mean((2, 3), keepdim=True)
        return torch.quantize_per_tensor(mean, self.scale, _MIDDLE, torch.quint8)
