"""Handwritten digits as pen strokes, and the arithmetic that draws them.

The golden digits are among them.

Everything from the points to the grey levels is integer arithmetic, so that the pictures are the
same to the byte on every platform: no libm, no fused multiply-add, no order of summation matters.

A drawing is a pen and its strokes. A stroke is written like the points of an SVG polyline, ``x,y``
with y downwards, on a grid 100 high; the pen passes through every point on a smooth
curve (a uniform Catmull-Rom spline). A corner is where one stroke ends and the next one begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from mnistkit.common.images import SIDE
from mnistkit.pictures.preprocess import BOX

_UNIT = 256  # fixed point: units in a pixel
_SUB = 8  # samples in a pixel, along each axis
_STEP = _UNIT // _SUB
_PARTS = 8  # straight pieces between two points of a stroke
_SOFT = _UNIT // 4  # how far the soft edge reaches beyond the line: see _shade
_INK = 230  # coverage, in 255ths, that counts as full ink: a pen leaves its middle saturated
_MAX_SCALE = 16  # keeps every product within int64

_Points = list[tuple[int, int]]


@dataclass(frozen=True)
class Drawing:
    """One digit as the pen wrote it; ``pen`` is the width of the line in 16ths of a pixel."""

    digit: int
    pen: int
    strokes: tuple[str, ...]


DRAWINGS = (
    Drawing(0, 36, ("52,0 34,8 20,32 16,62 24,88 44,99 64,92 78,68 82,38 74,10 52,0",)),
    Drawing(0, 40, ("62,5 40,7 16,32 4,66 14,93 38,99 68,78 86,42 83,15 68,3 48,3",)),
    Drawing(1, 38, ("62,0 54,32 46,66 38,100",)),
    Drawing(1, 40, ("34,22 46,12 54,0", "54,0 53,50 52,100")),
    Drawing(2, 36, ("14,26 28,6 52,0 74,12 74,34 56,62 32,84 10,98", "10,98 36,92 62,97 92,96")),
    Drawing(2, 38, ("22,20 42,2 68,6 76,28 60,58 34,86 10,92 10,76 30,74 58,92 94,90",)),
    Drawing(3, 36, ("16,12 42,0 70,8 70,30 38,46", "38,46 70,54 80,76 60,97 30,98 8,86")),
    Drawing(
        3, 40, ("24,12 44,1 72,4 78,20 66,36 47,46 41,52 47,50 68,58 74,76 58,95 28,100 4,88",)
    ),
    Drawing(4, 36, ("24,4 18,28 10,56", "10,56 46,56 88,50", "74,0 68,48 62,100")),
    Drawing(4, 38, ("44,0 28,30 8,62", "8,62 46,62 94,58", "70,24 64,62 56,100")),
    Drawing(5, 36, ("84,0 58,4 32,3", "32,3 28,22 24,44", "24,44 52,38 78,54 78,80 54,98 12,94")),
    Drawing(5, 40, ("96,2 66,3 42,8", "42,8 34,28 26,48", "26,48 56,40 74,58 62,84 34,98 4,94")),
    Drawing(6, 36, ("64,0 38,22 20,56 24,88 48,100 74,88 78,66 58,54 34,64 22,84",)),
    Drawing(6, 40, ("82,0 48,24 20,60 14,88 34,100 62,90 72,68 52,58 28,72 16,90",)),
    Drawing(7, 36, ("22,10 50,10 84,4", "84,4 68,34 54,64 46,100")),
    Drawing(7, 38, ("14,8 48,6 86,6", "86,6 64,40 46,72 34,100", "30,54 52,52 76,52")),
    Drawing(
        8,
        36,
        ("75,17 66,3 48,0 31,7 27,22 37,38 58,53 74,72 69,92 49,99 28,93 22,74 42,53 66,35 75,17",),
    ),
    Drawing(
        8,
        38,
        ("88,15 82,3 66,0 48,9 43,26 51,46 60,64 58,83 42,98 22,98 12,84 20,67 46,51 74,35 88,15",),
    ),
    Drawing(
        9, 36, ("77,16 62,3 40,4 22,18 18,36 30,49 50,47 68,34 77,16", "77,16 75,40 74,70 72,100")
    ),
    Drawing(
        9, 40, ("82,14 66,1 42,7 27,26 28,44 44,50 64,38 82,14", "82,14 73,42 62,66 48,86 32,100")
    ),
)
"""Two hands for each digit, 0 to 9."""


def draw(drawing: Drawing, scale: int = 1) -> npt.NDArray[np.uint8]:
    """Draw a digit as MNIST frames it: ink in a 20 by 20 box, centred by its mass.

    Args:
        drawing: what to draw.
        scale: 1 for the picture itself, up to 16 for the same one that many times larger.

    Returns:
        uint8 ``(28 * scale, 28 * scale)``, 0 background, 255 ink.

    Raises:
        ValueError: ``scale`` is not 1 to 16.
    """
    if not 1 <= scale <= _MAX_SCALE:
        raise ValueError(f"scale {scale}; wanted 1 to {_MAX_SCALE}")
    middle = SIDE * _UNIT // 2
    picture = _shade(_samples(drawing, middle, middle, 1))
    # MNIST moves whole pixels; the centre is pixel 14, as measured on its training images.
    ink = picture.astype(np.int64)
    mass = int(ink.sum())
    index = np.arange(SIDE, dtype=np.int64)
    x = middle + _UNIT * (SIDE // 2 - _divide(int((ink.sum(axis=0) * index).sum()), mass))
    y = middle + _UNIT * (SIDE // 2 - _divide(int((ink.sum(axis=1) * index).sum()), mass))
    return _shade(_samples(drawing, x, y, scale))


def _divide(numerator: int, denominator: int) -> int:
    """Divide, rounded to the nearest whole number."""
    return (2 * numerator + denominator) // (2 * denominator)


def _curve(stroke: str) -> _Points:
    """Flatten a stroke into points in units of 1 / (2 * _PARTS**3) of its grid."""
    points = [(int(x), int(y)) for x, y in (pair.split(",") for pair in stroke.split())]
    first, last = points[0], points[-1]
    if first == last:
        before, after = points[-2], points[1]
    else:
        before, after = first, last
    padded = [before, *points, after]
    n = _PARTS
    flat: _Points = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for k in range(n):
            x, y = (
                2 * p1 * n**3
                + (p2 - p0) * k * n**2
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * k**2 * n
                + (3 * p1 - p0 - 3 * p2 + p3) * k**3
                for p0, p1, p2, p3 in zip(a, b, c, d, strict=True)
            )
            flat.append((x, y))
    flat.append((2 * n**3 * last[0], 2 * n**3 * last[1]))
    return flat


def _samples(drawing: Drawing, x: int, y: int, scale: int) -> npt.NDArray[np.bool_]:
    """Mark the samples under the pen, the middle of its bounding box being at (x, y) units."""
    curves = [_curve(stroke) for stroke in drawing.strokes]
    xs = [point[0] for curve in curves for point in curve]
    ys = [point[1] for curve in curves for point in curve]
    longest = max(max(xs) - min(xs), max(ys) - min(ys))
    pen = drawing.pen * _UNIT // 16
    room = BOX * _UNIT - pen - 2 * _SOFT
    side = SIDE * scale * _SUB
    under = np.zeros((side, side), dtype=np.bool_)
    for curve in curves:
        placed = [
            (
                scale * x + _divide((2 * px - min(xs) - max(xs)) * room * scale, 2 * longest),
                scale * y + _divide((2 * py - min(ys) - max(ys)) * room * scale, 2 * longest),
            )
            for px, py in curve
        ]
        for start, end in pairwise(placed):
            _sweep(under, start, end, pen * scale // 2)
    return under


def _sweep(
    under: npt.NDArray[np.bool_], start: tuple[int, int], end: tuple[int, int], radius: int
) -> None:
    """Mark the samples no further than ``radius`` from the straight line from start to end."""
    windows = [
        range(
            max((min(start[axis], end[axis]) - radius) // _STEP, 0),
            min((max(start[axis], end[axis]) + radius) // _STEP + 1, under.shape[0]),
        )
        for axis in (0, 1)
    ]
    px, py = (
        np.array(window, dtype=np.int64) * _STEP + _STEP // 2 - start[axis]
        for axis, window in enumerate(windows)
    )
    dx, dy = end[0] - start[0], end[1] - start[1]
    length2 = dx * dx + dy * dy
    across, down = px[np.newaxis, :], py[:, np.newaxis]
    dot = across * dx + down * dy
    cross = across * dy - down * dx
    near = (dot >= 0) & (dot < length2) & (cross * cross <= radius * radius * length2)
    near |= across**2 + down**2 <= radius * radius
    near |= (across - dx) ** 2 + (down - dy) ** 2 <= radius * radius
    under[windows[1].start : windows[1].stop, windows[0].start : windows[0].stop] |= near


def _shade(under: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Turn samples into pixels with soft edges: a flat-topped filter 1.5 pixels wide.

    It is wider than a pixel by a quarter on each side: ``_SOFT``.
    """
    weights = (1, 2, 3, 4, 5, 5, 5, 5, 4, 3, 2, 1)
    sums = np.pad(under.astype(np.int64), (len(weights) - _SUB) // 2)
    side = under.shape[0]
    for axis in (0, 1):
        total = np.zeros(1, dtype=np.int64)
        for offset, weight in enumerate(weights):
            window = slice(offset, offset + side, _SUB)
            total = total + weight * (sums[window] if axis == 0 else sums[:, window])
        sums = total
    full = sum(weights) ** 2 * _INK
    levels = (sums * 255 * 255 * 2 + full) // (2 * full)
    return np.minimum(levels, 255).astype(np.uint8)
