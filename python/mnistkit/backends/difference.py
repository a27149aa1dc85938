"""How far logits are from a reference, and what is wrong with them by a tolerance."""

from __future__ import annotations

import math

import numpy as np

from mnistkit.backends.tolerances import Tolerance
from mnistkit.common.images import Logits

SIGMAS = 4.0  # standard errors that a gain may be off beside its tolerance


def whole_images(fraction: float, total: int) -> int:
    """A fraction of the images as a whole number of them, rounded up.

    So the few hundred images of a small test set may hold one whose two best logits are all but
    equal, and of 10,000 images a tolerance is what it says.
    """
    return math.ceil(round(fraction * total, 6))


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
        allowed = tolerance.gain + SIGMAS * error
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
