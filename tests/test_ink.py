"""The parts of finding ink that a whole picture hides."""

from __future__ import annotations

import numpy as np
import pytest
from mnistkit.pictures import ink


@pytest.mark.parametrize("radius", [0, 1, 2, 4])
def test_a_blur_stays_in_its_place(radius: int) -> None:
    values = np.zeros((21, 25), np.float32)
    values[10, 12] = 1
    blurred = ink._blur(values, radius)
    side = 2 * radius + 1
    wanted = np.zeros_like(values)
    wanted[10 - radius : 11 + radius, 12 - radius : 13 + radius] = 1 / side**2
    np.testing.assert_allclose(blurred, wanted, atol=1e-6)


def test_noise_beside_a_line_is_no_ink() -> None:
    """The paper around a bar is within the noise: little of it counts as ink."""
    picture = np.full((160, 160, 1), 220.0) + np.random.default_rng(0).normal(0, 12, (160, 160, 1))
    picture[40:120, 70:90] -= 180
    found = ink.find_ink(np.clip(picture, 0, 255).astype(np.float32))
    assert found is not None
    beside = found.amount[40:120, [68, 69, 90, 91]]
    assert (beside > 0).mean() < 0.1
    assert found.mask[45:115, 73:87].all()
    assert found.contrast == pytest.approx(180, abs=10)
