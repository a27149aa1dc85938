"""Quantization-aware fine-tuning of a folded net (Jacob et al. 2018), taught by its fp32 self.

The student computes what the int8 net computes, in float with straight-through gradients: the
rounding of weights and activations passes gradients through, clipping stops them. The scales of
the activations are those of the calibration and stay; weights and biases move. The teacher is the
fp32 net, so no labels are needed and the digits stay those that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistkit.common.errors import CheckError
from mnistkit.data.sets import ImageSet, batches
from mnistkit.nets.deploy import AvgPoolOp, ConvOp, DeployGraph, MaxPoolOp, Op
from mnistkit.quantization.graph import INPUT_QUANT_SCALE, QMAX, quantize_weight
from mnistkit.runs.recipe import Recipe
from mnistkit.training.augment import Augment
from mnistkit.training.average import WeightAverage
from mnistkit.training.distillation import Teacher
from mnistkit.training.schedule import one_cycle

ProgressHook = Callable[[float, float], None]


@dataclass(frozen=True)
class QatSettings:
    """Fine-tuning settings; ``lr`` is Adam's peak, ``average`` the decay of the weights' mean."""

    epochs: int = 2
    batch_size: int = 64
    lr: float = 5e-4
    average: float = 0.998
    temperature: float = 2.0


class _Round(torch.autograd.Function):
    """Round half to even; the gradient passes as if nothing had happened."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _round(values: Tensor) -> Tensor:
    rounded: Tensor = _Round.apply(values)
    return rounded


class Student(nn.Module):
    """The int8 net in float: same scales, same rounding, trainable weights and biases."""

    def __init__(self, graph: DeployGraph, ranges: Mapping[str, float]) -> None:
        super().__init__()
        self._graph = graph
        self._last = max(i for i, op in enumerate(graph.ops) if isinstance(op, ConvOp))
        self._scales = {name: value / QMAX for name, value in ranges.items()}
        convs = [op for op in graph.ops if isinstance(op, ConvOp)]
        self.weights = nn.ParameterList(torch.from_numpy(op.weight.copy()) for op in convs)
        self.biases = nn.ParameterList(torch.from_numpy(op.bias.copy()) for op in convs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, 10)`` of float images ``(N, 1, 28, 28)`` in 0..1."""
        scale = float(INPUT_QUANT_SCALE)
        values = _quantize(images, scale, 0)
        parameters = iter(zip(self.weights, self.biases, strict=True))
        for index, op in enumerate(self._graph.ops):
            match op:
                case ConvOp():
                    weight, bias = next(parameters)
                    values = F.conv2d(
                        values,
                        _quantize_weight(weight, bias, scale),
                        bias,
                        stride=op.stride,
                        padding=op.padding,
                        groups=op.groups,
                    )
                    if index != self._last:
                        low = 0 if op.relu else -QMAX - 1
                        scale = self._scales[op.name]
                        values = _quantize(values, scale, low)
                case MaxPoolOp():
                    values = F.max_pool2d(values, op.size)
                case AvgPoolOp():
                    values = values.mean((2, 3), keepdim=True)
                    if index < self._last:
                        scale = self._scales[op.name]
                        values = _quantize(values, scale, -QMAX - 1)
        return values.flatten(1)

    def graph(self) -> DeployGraph:
        """The deploy graph with the weights as they are now."""
        parameters = iter(zip(self.weights, self.biases, strict=True))
        ops: list[Op] = []
        for op in self._graph.ops:
            if isinstance(op, ConvOp):
                weight, bias = next(parameters)
                arrays = {"weight": weight.detach().numpy(), "bias": bias.detach().numpy()}
                ops.append(replace(op, **{key: a.copy() for key, a in arrays.items()}))
            else:
                ops.append(op)
        return DeployGraph(self._graph.spec, tuple(ops))


def _quantize(values: Tensor, scale: float, low: int) -> Tensor:
    return _round((values / scale).clamp(low, QMAX)) * scale


def _quantize_weight(weight: Tensor, bias: Tensor, in_scale: float) -> Tensor:
    _, scales = quantize_weight(
        weight.detach().numpy(), bias.detach().numpy(), np.float32(in_scale)
    )
    scale = torch.from_numpy(scales)[:, None, None, None]
    return _round(weight / scale).clamp(-QMAX, QMAX) * scale


def fine_tune(
    graph: DeployGraph,
    ranges: Mapping[str, float],
    train_set: ImageSet,
    recipe: Recipe,
    settings: QatSettings = QatSettings(),
    *,
    seed: int = 0,
    on_step: ProgressHook | None = None,
) -> DeployGraph:
    """Fine-tune on augmented training images and return the deploy graph with moved weights.

    The loss is the cross-entropy between the softened answers of teacher and student (Hinton et
    al. 2015). What is returned is the mean of the weights over the last steps. Raises
    :class:`CheckError` where the loss is not finite.
    """
    student = Student(graph, ranges)
    mean = WeightAverage(student, settings.average)
    teacher = Teacher(graph, settings.temperature)
    augment = Augment(_gentle(recipe), torch.device("cpu"))
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.lr)
    steps = settings.epochs * max(len(train_set) // settings.batch_size, 1)
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(settings.epochs):
        for rows in batches(len(train_set), settings.batch_size, generator):
            images = augment(train_set.images[rows], generator)
            loss = teacher.loss(student(images), images)
            rate = one_cycle(step, steps, settings.lr, warmup=0.0)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            mean.update(step)
            step += 1
            if step % 50 == 0 or step == steps:
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise CheckError(f"fine-tuning: the loss became {value} in step {step}")
                if on_step is not None:
                    on_step(step / steps, value)
    return mean.average.graph()


def _gentle(recipe: Recipe) -> Recipe:
    """Half the training run's distortion: the weights are to settle, not to wander."""
    names = ("rotation", "shift", "scale", "shear", "elastic")
    return recipe.replace(**{name: getattr(recipe, name) / 2 for name in names})
