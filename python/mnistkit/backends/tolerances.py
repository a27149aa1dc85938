"""How far a runtime may be from the reference of a precision, and why.

Measured: every net of the package, MNIST's 10,000 test images, logits of up to 28
(docs/guides/verify.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tolerance:
    """How far a runtime in one precision may be from the reference.

    ``max_abs_diff`` bounds each logit of each image. ``typical`` bounds them on all images but the
    fraction ``rare``. ``gain`` bounds the factor between logits and reference, as its distance
    from 1, beyond four standard errors; None: not held. ``agreement`` is the least fraction of
    images with the same digit, ``accuracy_drop`` the most that accuracy may fall under that of the
    fp32 reference. Fractions of images are whole images, rounded up. ``reason`` is one line.
    """

    max_abs_diff: float
    reason: str
    typical: float = math.inf
    rare: float = 0.0
    gain: float | None = None
    agreement: float = 1.0
    accuracy_drop: float = 0.0

    def of_few(self) -> Tolerance:
        """What twenty images are held to: of a wrong net most are off, of a sound one few are.

        Where one image in twenty is off, more than ten of twenty are with a chance of 5e-10.
        """
        return replace(self, rare=max(self.rare, 0.5), gain=None)


Tolerances = Mapping[str, Tolerance]  # by precision

EXACT = Tolerance(
    max_abs_diff=0.0,
    reason="the integers and their scaling are defined to the bit",
    accuracy_drop=0.002,
)
SUMS = Tolerance(
    max_abs_diff=2e-4,
    reason="float32 sums in another order: 2e-5 measured, and CPUs differ",
)
HALF = Tolerance(
    max_abs_diff=0.05,
    reason="values are rounded to 11 bits after each layer: 0.01 measured, against an fp32 net "
    "with the same rounded weights",
    gain=2e-4,
    agreement=0.999,
    accuracy_drop=0.0005,
)


def ties(rare: float, measured: str) -> Tolerance:
    """int8 in a runtime that scales sums by float32 products of its own order."""
    return Tolerance(
        max_abs_diff=1.0,
        reason="scales sums in float32 in its own order, so that a value beside a tie may be "
        f"rounded to the other integer: {measured}",
        typical=1e-3,
        rare=rare,
        gain=2e-4,
        agreement=0.9998,
        accuracy_drop=0.002,
    )


TORCH: Tolerances = {
    "fp32": SUMS,
    "fp16": HALF,
    "int8": ties(0.05, "0.52 at most, and on 1 % of the images (oneDNN; FBGEMM 0.06)"),
}
# Not measured: no figure of this project comes from a GPU. fp32 has room for sums of its libraries.
CUDA: Tolerances = {
    "fp32": Tolerance(1e-3, "float32 sums of a GPU's libraries; a bound by estimate"),
    "fp16": Tolerance(
        0.1,
        "float16 sums of a GPU's libraries; a bound by estimate",
        agreement=0.999,
        accuracy_drop=0.0005,
    ),
    "int8": Tolerance(
        1.0,
        "integers beside a tie, as a GPU's libraries round them; a bound by estimate",
        agreement=0.9998,
        accuracy_drop=0.002,
    ),
}
