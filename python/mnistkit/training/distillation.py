"""Learning from a larger net's answers as well as from the labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistkit.nets.deploy import DeployGraph
from mnistkit.nets.deploy_module import DeployNet


class Teacher:
    """A trained net whose softened answers a student is to give too (Hinton et al. 2015).

    With ``mixed_precision`` it answers in bfloat16, which is plenty for a target.
    """

    def __init__(
        self,
        graph: DeployGraph,
        temperature: float,
        device: torch.device | None = None,
        *,
        mixed_precision: bool = False,
    ) -> None:
        self._device = device or torch.device("cpu")
        self._layers = DeployNet(graph).ops.to(self._device).to(memory_format=torch.channels_last)
        self._temperature = temperature
        self._mixed = mixed_precision

    @torch.no_grad()
    def answers(self, images: Tensor) -> Tensor:
        """Softened probabilities ``(N, 10)`` for float images ``(N, 1, 28, 28)`` in 0..1."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            logits: Tensor = self._layers(images)
        return (logits.flatten(1).float() / self._temperature).softmax(1)

    def loss(self, logits: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy between the teacher's softened answers and a student's, in nats."""
        return F.cross_entropy(logits / self._temperature, self.answers(images))
