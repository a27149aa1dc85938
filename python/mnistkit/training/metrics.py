"""Evaluation of a module on labelled images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistkit.data.sets import ImageSet


@dataclass(frozen=True)
class Score:
    """Correct answers out of ``total`` and the mean cross-entropy in nats."""

    correct: int
    total: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Fraction of the images answered rightly."""
        return self.correct / self.total


@torch.inference_mode()
def evaluate(
    module: nn.Module, digits: ImageSet, device: torch.device, batch_size: int = 500
) -> Score:
    """Score a module that takes float images in 0..1, in evaluation mode."""
    was_training = module.training
    module.eval()
    correct, loss = 0, 0.0
    for start in range(0, len(digits), batch_size):
        images = digits.images[start : start + batch_size].to(device).float() * (1 / 255)
        labels = digits.labels[start : start + batch_size].to(device)
        logits: Tensor = module(images.contiguous(memory_format=torch.channels_last))
        correct += int((logits.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    module.train(was_training)
    return Score(correct, len(digits), loss / len(digits))
