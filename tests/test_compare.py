"""The comparison of logits: every bound holds, sound noise passes, and what is off is said."""

from __future__ import annotations

import numpy as np
import pytest
from mnistkit import backends
from mnistkit.backends.tolerances import CUDA, EXACT, HALF, SUMS, Tolerance, ties
from mnistkit.measure import compare

TIES = ties(0.05, "test")


def logits(count: int, seed: int = 0) -> np.ndarray:
    """Logits as nets have them: one digit's near 20, the others' around -3."""
    draws = np.random.default_rng(seed)
    made = draws.normal(-3, 3, (count, 10))
    made[np.arange(count), draws.integers(0, 10, count)] = draws.normal(20, 2, count)
    return made.astype(np.float32)


def with_ties(reference: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    """A share of the images with a hidden integer off by one."""
    draws = np.random.default_rng(seed)
    hit = draws.random(len(reference)) < share
    noise = draws.normal(0, 0.1, reference.shape).clip(-0.5, 0.5)
    return (reference + noise * hit[:, None]).astype(np.float32)


def halved(reference: np.ndarray) -> np.ndarray:
    return reference.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("count", [1, 20, 64, 497, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_sound_noise_passes(count: int, seed: int) -> None:
    reference = logits(count, seed)
    assert not compare.difference_faults(reference, reference, EXACT)
    assert not compare.difference_faults(reference + np.float32(2e-5), reference, SUMS)
    assert not compare.difference_faults(halved(reference), reference, HALF)
    few = with_ties(reference, 0.01, seed) if count > 64 else reference
    assert not compare.difference_faults(few, reference, TIES)


@pytest.mark.parametrize("count", [497, 10_000])
@pytest.mark.parametrize("tolerance", [EXACT, SUMS, HALF, TIES])
@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_logits_a_thousandth_off_fail(count: int, tolerance: Tolerance, factor: float) -> None:
    reference = logits(count)
    sound = {HALF: halved, TIES: lambda each: with_ties(each, 0.01)}.get(tolerance, np.copy)
    faults = compare.difference_faults(
        (sound(reference) * factor).astype(np.float32), reference, tolerance
    )
    assert faults
    if tolerance.gain is not None:
        assert any("times the reference's" in fault for fault in faults)


def test_the_gain_is_the_factor_and_its_error() -> None:
    reference = logits(10_000)
    noise = np.random.default_rng(3).normal(0, 0.1, reference.shape).astype(np.float32)
    factor, error = compare.gain(reference * np.float32(1.01) + noise, reference)
    assert factor == pytest.approx(1.01, abs=5 * error)
    # Independent noise: its spread over the root of the sum of squares.
    assert error == pytest.approx(0.1 / np.sqrt(np.square(reference).sum()), rel=0.1)


@pytest.mark.parametrize(("share", "passes"), [(0.03, True), (0.1, False)])
def test_unusual_images_are_few(share: float, passes: bool) -> None:
    reference = logits(10_000)
    faults = compare.difference_faults(with_ties(reference, share), reference, TIES)
    assert (not faults) == passes
    assert passes or "have a logit more than 0.001 from the reference, 5.00%" in faults[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_fails(bad: float) -> None:
    reference = logits(20)
    wrong = reference.copy()
    wrong[3, 4] = bad
    assert compare.difference_faults(wrong, reference, SUMS) == ["some logits are not finite"]
    assert compare.difference_faults(reference, wrong, SUMS) == [
        "some logits of the reference are not finite"
    ]
    figures, _ = compare.compare(wrong, wrong, 20, np.zeros(20, int), SUMS)
    assert figures.gain is None


def test_one_bit_is_too_much_for_what_is_exact() -> None:
    reference = logits(20)
    wrong = reference.copy()
    wrong[3, 4] = np.nextafter(wrong[3, 4], np.float32(100))
    (fault,) = compare.difference_faults(wrong, reference, EXACT)
    assert "0 is allowed" in fault


def test_one_logit_of_one_image_among_many_is_found() -> None:
    reference = logits(10_000)
    wrong = reference.copy()
    wrong[17, 4] += np.float32(0.01)
    (fault,) = compare.difference_faults(wrong, reference, SUMS)
    assert fault.startswith("a logit is 0.01 from the reference, ")


@pytest.mark.parametrize("lost", [2, 3])
def test_accuracy_may_fall_by_whole_images(lost: int) -> None:
    fault = compare.accuracy_fault(900 - lost, 900, 1000, 0.002)
    assert (fault is None) == (lost == 2)


def test_every_backend_states_its_tolerances_with_a_reason() -> None:
    for backend in backends.all_backends():
        for precision in backend.precisions:
            for device in backend.devices:
                assert backend.tolerance(precision, device).reason
        if "cuda" in backend.devices:
            assert backend.tolerance("fp32", "cuda:0") == CUDA["fp32"]
        if backend.int8_is_exact:
            assert backend.tolerance("int8").max_abs_diff == 0
            assert backend.tolerance("int8").agreement == 1
