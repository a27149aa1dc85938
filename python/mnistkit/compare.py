"""Logits compared with a reference: the figures, and what is wrong with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.backends.base import Logits
from mnistkit.backends.tolerances import Tolerance
from mnistkit.rows import Differing, Figures

_LISTED = 20  # differing images that a row lists
_SIGMAS = 4.0  # standard errors that a gain may be off beside its tolerance


def whole_images(fraction: float, total: int) -> int:
    """A fraction of the images as a whole number of them, rounded up.

    So the few hundred images of a small test set may hold one whose two best logits are all but
    equal, and of 10,000 images a tolerance is what it says.
    """
    return math.ceil(round(fraction * total, 6))


def standard_error(accuracy: float, total: int) -> float:
    """Binomial standard error of an accuracy, as a fraction."""
    return math.sqrt(accuracy * (1 - accuracy) / total)


def gain(logits: Logits, reference: Logits) -> tuple[float, float]:
    """The least-squares factor between logits and reference ``(N, 10)``, and its standard error.

    Rounding is as often up as down, so over many images the factor of a sound net comes to 1. The
    error is taken from image to image: the ten logits of one are not independent. Both are nan
    where a logit is not finite, or the reference is nought throughout.
    """
    if not (np.isfinite(logits).all() and np.isfinite(reference).all()):
        return math.nan, math.nan
    one, other = logits.astype(np.float64), reference.astype(np.float64)
    across, square = (one * other).sum(1), (other * other).sum(1)
    whole = float(square.sum())
    if not whole > 0:
        return math.nan, math.nan
    factor, count = float(across.sum()) / whole, len(one)
    if count == 1:
        return factor, math.inf  # of one image nothing is left that it could vary by
    squares = float(((across - factor * square) ** 2).sum())
    return factor, math.sqrt(squares * count / (count - 1)) / whole


def difference_faults(logits: Logits, reference: Logits, tolerance: Tolerance) -> list[str]:
    """What is wrong with logits ``(N, 10)`` beside the reference's, without any labels."""
    faults, total = [], len(logits)
    if not np.isfinite(logits).all():
        faults.append("some logits are not finite")
    if not np.isfinite(reference).all():
        faults.append("some logits of the reference are not finite")
    if faults:
        return faults
    worst = np.abs(logits - reference).max(1)
    if not worst.max() <= tolerance.max_abs_diff:
        faults.append(
            f"a logit is {worst.max():.3g} from the reference, {tolerance.max_abs_diff:g} is "
            f"allowed"
        )
    unusual = int((worst > tolerance.typical).sum())
    if unusual > whole_images(tolerance.rare, total):
        faults.append(
            f"{unusual / total:.2%} of the images have a logit more than {tolerance.typical:g} "
            f"from the reference, {tolerance.rare:.2%} is allowed"
        )
    if tolerance.gain is not None:
        factor, error = gain(logits, reference)
        allowed = tolerance.gain + _SIGMAS * error
        if abs(factor - 1) > allowed:
            faults.append(
                f"the logits are {factor:.5f} times the reference's, 1 +- {allowed:.5f} is allowed"
            )
    agree = logits.argmax(1) == reference.argmax(1)
    if (~agree).sum() > whole_images(1 - tolerance.agreement, total):
        faults.append(
            f"{agree.mean():.2%} of the digits agree, {tolerance.agreement:.2%} is wanted"
        )
    return faults


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
    allowed = math.inf if tolerance.gain is None else tolerance.gain + _SIGMAS * error
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
