"""Logits and digits compared with a reference: the figures of a row, and all its faults."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.backends.difference import SIGMAS, difference_faults, gain, whole_images
from mnistkit.backends.tolerances import Tolerance
from mnistkit.common.images import Logits
from mnistkit.measure.rows import Differing, Figures

_LISTED = 20  # differing images that a row lists


def standard_error(accuracy: float, total: int) -> float:
    """Binomial standard error of an accuracy, as a fraction."""
    return math.sqrt(accuracy * (1 - accuracy) / total)


def accuracy_fault(correct: int, fp32_correct: int, total: int, drop: float) -> str | None:
    """What is wrong with an accuracy beside that of the fp32 reference, or None."""
    lost = fp32_correct - correct
    if lost <= whole_images(drop, total):
        return None
    return f"accuracy falls by {lost / total:.2%}, {drop:.2%} is allowed"


def compare(
    logits: Logits,
    reference: Logits,
    fp32_correct: int,
    labels: NDArray[Any],
    tolerance: Tolerance,
) -> tuple[Figures, list[str]]:
    """Compare logits ``(N, 10)`` with the reference's; return the figures and all faults.

    ``fp32_correct`` is how many of the images the fp32 reference reads rightly.
    """
    digits, expected = logits.argmax(1), reference.argmax(1)
    correct, total = int((digits == labels).sum()), len(labels)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        difference = np.abs(logits - reference)
    factor, error = gain(logits, reference)
    held = math.isfinite(tolerance.typical)
    allowed = math.inf if tolerance.gain is None else tolerance.gain + SIGMAS * error
    figures = Figures(
        accuracy=correct / total,
        standard_error=standard_error(correct / total, total),
        correct=correct,
        total=total,
        agreement=float((digits == expected).mean()),
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        tolerance=tolerance.max_abs_diff,
        tolerance_reason=tolerance.reason,
        unusual=float((difference.max(1) > tolerance.typical).mean()) if held else None,
        unusual_tolerance=tolerance.rare if held else None,
        typical_tolerance=tolerance.typical if held else None,
        gain=factor if math.isfinite(factor) else None,
        gain_tolerance=allowed if math.isfinite(allowed) else None,
        differing=[
            Differing(
                index=int(index),
                label=int(labels[index]),
                logits=logits[index].tolist(),
                reference_logits=reference[index].tolist(),
            )
            for index in np.flatnonzero(digits != expected)[:_LISTED]
        ],
    )
    faults = difference_faults(logits, reference, tolerance)
    if fault := accuracy_fault(correct, fp32_correct, total, tolerance.accuracy_drop):
        faults.append(fault)
    return figures, faults
