"""The learning-rate schedule."""

from __future__ import annotations

import math


def one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Learning rate of ``step`` of ``steps``: a linear rise to ``peak``, a cosine fall to zero.

    Source: Smith, "A disciplined approach to neural network hyper-parameters" (2018).
    """
    rise = max(1, round(steps * warmup))
    if step < rise:
        return peak * (0.04 + 0.96 * (step + 1) / rise)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / max(1, steps - rise)))
