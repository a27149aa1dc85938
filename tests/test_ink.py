"""The parts of finding ink that a whole picture hides."""

from __future__ import annotations

import numpy as np
import pytest
from mnistkit import ink


@pytest.mark.parametrize("radius", [0, 1, 2, 4])
def test_a_blur_stays_in_its_place(radius: int) -> None:
    values = np.zeros((21, 25), np.float32)
    values[10, 12] = 1
    blurred = ink._blur(values, radius)
    side = 2 * radius + 1
    wanted = np.zeros_like(values)
    wanted[10 - radius : 11 + radius, 12 - radius : 13 + radius] = 1 / side**2
    np.testing.assert_allclose(blurred, wanted, atol=1e-6)
