"""Accuracy of one model on one data set."""

from __future__ import annotations

from dataclasses import dataclass

from mnistkit.backends.base import Predictor
from mnistkit.data.sets import ImageSet
from mnistkit.measure.compare import standard_error
from mnistkit.measure.parity import run_all


@dataclass(frozen=True)
class Evaluation:
    """``correct`` of ``total`` images; ``standard_error`` is the accuracy's, binomial."""

    dataset: str
    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """The share of the images that were read rightly, 0 to 1."""
        return self.correct / self.total

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy."""
        return standard_error(self.accuracy, self.total)


def evaluate(predictor: Predictor, images: ImageSet) -> Evaluation:
    """Read every image and count the right answers."""
    digits = run_all(predictor, images.images.numpy(), None).argmax(1)
    return Evaluation(images.name, int((digits == images.labels.numpy()).sum()), len(images))
