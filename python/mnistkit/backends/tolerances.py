"""How far a runtime may be from the reference of a precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """How far a precision may be from its reference.

    ``max_abs_diff`` bounds each logit, ``agreement`` is the least fraction of images with the
    same digit, ``accuracy_drop`` the most that accuracy may fall under that of eager fp32; both
    in whole images, rounded up.
    """

    max_abs_diff: float
    agreement: float
    accuracy_drop: float


TOLERANCES = {
    "fp32": Tolerance(1e-3, 1.0, 0.0),
    "fp16": Tolerance(0.1, 0.999, 0.0005),
    "int8": Tolerance(1.0, 0.9998, 0.002),
}
