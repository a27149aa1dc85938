"""What a finished training run says of itself: ``summary.json``, typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mnistkit.common.errors import ArtifactError
from mnistkit.runs import checkpoint


@dataclass(frozen=True)
class RunSummary:
    """The figures of one training run; the test set was read once, at its end.

    ``seconds`` is the time of training alone, ``images_per_second`` its throughput, ``test_loss``
    the mean cross-entropy in nats. ``interrupted`` is True where Ctrl-C ended it early.

    >>> import mnistkit
    >>> summary = mnistkit.train("nano", dataset="digits", epochs=1, out="runs/a")
    >>> summary.net, summary.params, summary.epochs, summary.test_total
    ('nano', 2454, 1, 497)
    """

    run: Path
    net: str
    params: int
    multiply_adds: int
    dataset: str
    epochs: int
    seed: int
    test_correct: int
    test_total: int
    test_accuracy: float
    test_loss: float
    seconds: float
    images_per_second: float
    device: str
    threads: int
    processes: int
    interrupted: bool
    versions: Mapping[str, Any]

    @classmethod
    def of(cls, run: Path, figures: Mapping[str, Any]) -> Self:
        """The summary that ``summary.json`` of that run folder holds."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "run"]
        if missing := [name for name in names if name not in figures]:
            raise ArtifactError(
                f"{run / checkpoint.SUMMARY} lacks {', '.join(missing)}; train the net again"
            )
        return cls(run, **{name: figures[name] for name in names})
