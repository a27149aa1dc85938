"""Finding the ink in a picture of a handwritten digit, whatever its light, paper and colours.

The background is a smooth surface, fitted to the picture's border and then to all that is near it;
the ink is what differs from the surface, in whichever colour and direction that is. MNIST's
framing is not known here: that is :mod:`mnistkit.pictures.preprocess`.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_LEAST_CONTRAST = 20.0  # levels of 255 between background and ink; less is a blank picture
_LEAST_TO_NOISE = 3.5  # the same, in standard deviations of the background
_NOISE = 2.0  # standard deviations of the background that are taken for no ink
_GRID = 72  # the surface is fitted on at most this many rows and columns
_BLOCKS = 160  # pieces of ink are told apart on at most this many rows and columns
_SPECK = 0.04  # a piece smaller than this share of the largest is dirt
_CLEAR = 0.1  # a piece this large beside the largest is enough to be the digit


class Ink(NamedTuple):
    """The ink in a picture of H by W pixels.

    ``amount`` is float32 ``(H, W)``, 0 to 1 and exactly 0 away from the ink; ``mask`` is bool
    ``(H, W)``, where it is more than a half; ``contrast`` is the difference between ink and
    background in levels of 255.
    """

    amount: Floats
    mask: Mask
    contrast: float


def find_ink(picture: Floats) -> Ink | None:
    """Tell the ink from the background.

    Args:
        picture: ``(H, W, C)``, 0 to 255, C = 1 or 3, H and W at least 3.

    Returns:
        The ink, or None where nothing stands out from the background.
    """
    difference = picture - _background(picture)
    return _separate((difference @ _direction(difference)).astype(np.float32))


def _background(picture: Floats) -> Floats:
    """Fit a quadratic surface to each channel, ``(H, W, C)``: to the border, then all near it."""
    height, width, _ = picture.shape
    rows, columns = (
        np.unique(np.linspace(0, size - 1, min(size, _GRID)).round().astype(np.intp))
        for size in (height, width)
    )
    rim = max(1, min(height, width) // 30)
    on_rim = (
        ((rows < rim) | (rows >= height - rim))[:, np.newaxis]
        | ((columns < rim) | (columns >= width - rim))[np.newaxis, :]
    ).ravel()
    terms = 6 if min(height, width) >= 16 else 1  # fewer pixels do not show a slope
    basis = _basis(rows / (height - 1), columns / (width - 1))[..., :terms]
    basis = basis.reshape(on_rim.size, terms)
    everywhere = _basis(np.linspace(0, 1, height), np.linspace(0, 1, width))[..., :terms]
    channels = []
    for channel in np.moveaxis(picture, 2, 0):
        samples = channel[np.ix_(rows, columns)].ravel().astype(np.float64)
        grain = float(np.median(np.abs(np.diff(channel[rows], axis=1)))) / 0.95
        spread = max(2 * grain, 3.0)
        fit = _border_fit(basis[on_rim], samples[on_rim], 3 * spread)
        for _ in range(6):
            residual = np.abs(samples - basis @ fit)
            near = residual < 3 * spread
            if near.sum() < on_rim.sum() // 4:
                break
            fit = _least_squares(basis, samples, near / np.maximum(residual, spread))
        channels.append((everywhere @ fit).astype(np.float32))
    return np.clip(np.stack(channels, axis=2), 0, 255)


def _border_fit(basis: Doubles, samples: Doubles, tolerance: float) -> Doubles:
    """Find a level or a slope that most of the border lies on, as coefficients ``(terms,)``.

    The commonest level is tried first, and then a fit of least absolute deviations (by iteratively
    reweighted least squares): an edge of the paper, or ink that touches the border, is left out
    rather than bent to.
    """
    levels = np.percentile(samples, range(0, 101, 2))
    counts = (np.abs(samples - levels[:, np.newaxis]) < tolerance).sum(axis=1)
    level = np.zeros(basis.shape[1])
    level[0] = levels[counts.argmax()]
    if counts.max() > 0.6 * len(samples) or len(level) < 3:
        return level
    slope = np.zeros_like(level)
    residual = np.ones_like(samples)
    for _ in range(12):
        weights = 1 / np.maximum(np.abs(residual), 2.0)
        slope[:3] = _least_squares(basis[:, :3], samples, weights)
        residual = samples - basis @ slope
    return slope if (np.abs(residual) < tolerance).sum() > counts.max() else level


def _basis(y: Doubles, x: Doubles) -> Doubles:
    """Give the terms of a quadratic surface, ``(len(y), len(x), 6)``, constant and slopes first."""
    down, across = np.meshgrid(2 * y - 1, 2 * x - 1, indexing="ij")
    terms = [np.ones_like(down), down, across, down * across, down**2, across**2]
    return np.stack(terms, axis=-1)


def _least_squares(basis: Doubles, samples: Doubles, weights: Doubles) -> Doubles:
    weighted = basis * weights[:, np.newaxis]
    # The ridge keeps a bend that the samples do not show at zero.
    ridge = 1e-6 * weights.sum() * np.eye(basis.shape[1])
    return np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ samples)


def _direction(difference: Floats) -> Floats:
    """Find the colour direction, ``(C,)`` of length 1, in which the strongest differences lie."""
    smooth = _blur(difference, max(difference.shape) // 300)
    strength = np.sqrt((smooth**2).sum(axis=2))
    strong: Floats = difference[strength >= strength.max() / 2].sum(axis=0)
    length = float(np.sqrt((strong**2).sum()))
    if length == 0:
        return np.full_like(strong, 1 / np.sqrt(len(strong)))
    return (strong / length).astype(np.float32)


def _separate(signed: Floats) -> Ink | None:
    """Turn differences ``(H, W)``, positive at the ink, into amounts of ink."""
    # As little blur as the noise needs: none for a clean picture.
    for radius in (0, 1, 2, 4):
        smooth = _blur(signed, radius)
        peak = float(smooth.max())
        background = np.abs(smooth[np.abs(smooth) < peak / 2])
        # By the lower quartile, for soft edges take up much of a small picture.
        noise = 3.14 * float(np.percentile(background, 25)) if background.size else 0.0
        if peak > 8 * noise or 50 * 2 * radius > max(signed.shape):
            break
    level = peak
    for _ in range(4):
        above = smooth[smooth > level / 2]
        if above.size == 0:
            return None
        level = float(np.median(above))
    if level < max(_LEAST_CONTRAST, _LEAST_TO_NOISE * noise):
        return None
    low = min(_NOISE * noise, level / 4)
    amount = np.clip((smooth - low) / (level - low), 0, 1)
    mask = smooth > level / 2
    kept = _without_dirt(mask, radius)
    return Ink(np.where(kept, amount, np.float32(0)), mask & kept, level)


def _without_dirt(mask: Mask, reach: int) -> Mask:
    """Mark the surroundings of the pieces of ink that can be the digit, ``reach`` pixels wide."""
    height, width = mask.shape
    block = -(-max(height, width) // _BLOCKS)
    padded = np.pad(mask, ((0, -height % block), (0, -width % block)))
    areas = padded.reshape(padded.shape[0] // block, block, -1, block).sum(axis=(1, 3))
    labels = _pieces(areas > 0)
    sizes = np.bincount(labels.ravel(), areas.ravel())
    sizes[0] = 0
    keep = sizes >= _SPECK * sizes.max()
    # The edge of the paper or a shadow comes in from outside; a digit lies clear of the border,
    # unless there is nothing else.
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    clear = keep.copy()
    clear[rim] = False
    if sizes[clear].max(initial=0) >= _CLEAR * sizes.max():
        keep = clear
    keep[0] = False
    near: Mask = keep[labels]
    for _ in range(1 + -(-(reach + 1) // block)):
        near = _grow(near)
    near = near & (keep[labels] | (labels == 0))
    return near.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]


def _pieces(mask: Mask) -> npt.NDArray[np.intp]:
    """Number the 8-connected pieces of a mask ``(h, w)``, from 1; 0 is outside."""
    parent = [0]

    def root(label: int) -> int:
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    labels = np.zeros(mask.shape, dtype=np.intp)
    above: list[tuple[int, int, int]] = []
    for row, line in enumerate(mask):
        edges = np.flatnonzero(np.diff(line, prepend=False, append=False))
        runs = []
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            touching = {root(label) for a, b, label in above if a <= stop and b >= start}
            label = min(touching, default=len(parent))
            if label == len(parent):
                parent.append(label)
            for other in touching:
                parent[other] = label
            labels[row, start:stop] = label
            runs.append((start, stop, label))
        above = runs
    roots = np.array([root(label) for label in range(len(parent))])
    return np.unique(roots, return_inverse=True)[1][labels]


def _grow(mask: Mask) -> Mask:
    """Widen a mask by one in the eight directions."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    grown = np.zeros_like(mask)
    for down, across in itertools.product(range(3), repeat=2):
        grown |= padded[down : down + height, across : across + width]
    return grown


def _blur(values: Floats, radius: int) -> Floats:
    """Average over a square of ``2 * radius + 1`` pixels along the first two axes."""
    if radius == 0:
        return values
    side = 2 * radius + 1
    result = values.astype(np.float64)
    for axis in (0, 1):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(result, pad, mode="edge"), axis=axis)
        size = values.shape[axis]
        ends = np.arange(side, side + size)
        result = (sums.take(ends, axis=axis) - sums.take(ends - side, axis=axis)) / side
    return result.astype(np.float32)
