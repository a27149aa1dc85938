"""How a net is trained: every number that matters, in one frozen record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnistkit.common.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """Training settings. Angles are degrees, shifts pixels, scale and shear fractions.

    SGD with Nesterov momentum under a one-cycle schedule (Smith 2018), random affine
    augmentation, and an exponential moving average of the weights (Polyak averaging), which is
    what is evaluated and saved. ``muon`` is the peak rate of Muon, which then takes the
    convolutions before batch norms over from SGD; 0 leaves all to SGD. A step takes ``batch_size``
    images, each in ``copies`` distortions (batch augmentation, Hoffer et al. 2020). Where a run has
    a teacher, ``distill`` is the share of the loss that its answers have, softened by
    ``temperature``.

    >>> import mnistkit
    >>> mnistkit.Recipe(epochs=3).replace(peak_lr=0.1).peak_lr
    0.1
    """

    epochs: int = 19
    batch_size: int = 128
    copies: int = 1
    peak_lr: float = 0.05
    muon: float = 0.0
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    ema_decay: float = 0.999
    rotation: float = 10.0
    shift: float = 2.0
    scale: float = 0.10
    shear: float = 0.15
    elastic: float = 0.0
    distill: float = 0.7
    temperature: float = 2.0
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "epochs": (1, 1000),
            "batch_size": (1, 65536),
            "copies": (1, 64),
            "peak_lr": (0, 100),
            "muon": (0, 10),
            "warmup": (0, 1),
            "momentum": (0, 1),
            "weight_decay": (0, 1),
            "label_smoothing": (0, 0.99),
            "ema_decay": (0, 1),
            "rotation": (0, 180),
            "shift": (0, 14),
            "scale": (0, 0.9),
            "shear": (0, 2),
            "elastic": (0, 20),
            "distill": (0, 1),
            "temperature": (0.1, 100),
            "mixed_precision": (0, 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise UsageError(f"recipe: {name} must be between {low} and {high}, got {value!r}")
            if name in ("epochs", "batch_size", "copies") and type(value) is not int:
                raise UsageError(f"recipe: {name} must be a whole number, got {value!r}")

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some settings changed; an unknown one is a :class:`UsageError`."""
        self._known(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`to_dict` wrote; a misspelt key is a :class:`UsageError`."""
        cls._known(data)
        return cls(**data)

    @classmethod
    def _known(cls, data: Mapping[str, Any]) -> None:
        names = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(data) - set(names)):
            raise UsageError(
                f"recipe: unknown setting {', '.join(unknown)}; known settings: {', '.join(names)}"
            )


RECIPES: dict[str, Recipe] = {
    "base": Recipe(muon=0.015, elastic=0.5),
    "small": Recipe(peak_lr=0.1, elastic=0.3),
    # The smallest underfits: no decay, more and larger steps.
    "nano": Recipe(batch_size=32, peak_lr=0.1, weight_decay=0.0, ema_decay=0.9997, elastic=0.3),
    # Batch, rate and epochs as published.
    "ref-10066": Recipe(
        epochs=17, batch_size=64, peak_lr=0.1, weight_decay=2e-4, ema_decay=0.9995, elastic=0.3
    ),
    "ref-16626": Recipe(elastic=0.3),
}


def recipe_for(net: str) -> Recipe:
    """Return the recipe that a net of the zoo is trained with."""
    return RECIPES.get(net, Recipe())
