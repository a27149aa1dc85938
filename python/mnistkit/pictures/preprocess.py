"""Pictures of handwritten digits, of any size and kind, made into what MNIST is made of.

MNIST's digits were cropped to their ink, scaled so that the longer side is 20 pixels, and placed
in 28 by 28 with their centre of mass in the middle (LeCun, Cortes and Burges, "The MNIST database
of handwritten digits"). :func:`to_mnist` does the same with a scan, a photo or a drawing;
:func:`read_images` does it with a file.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnistkit.common.errors import InputError
from mnistkit.common.images import SIDE
from mnistkit.data.idx import read_idx_stream
from mnistkit.pictures import file as picture_file
from mnistkit.pictures.ink import Floats, Ink, find_ink

MAX_PIXELS = 80_000_000
"""Largest picture read, in pixels."""

BOX = 20
"""The ink's longer side, in pixels, as in MNIST."""
_WORKING_SIDE = 1600  # a larger picture is halved, or more, before the ink is looked for
_LEAST_SIDE = 4
_FINE = 8  # pixels across one of MNIST's while the digit is framed
_THIN = 2.0  # pixels; of MNIST's digits 19 in 20 are written in a thicker line
_BLACK = 32  # a border this dark, on a 28 by 28 picture, is MNIST's own
_AS_WANTED = "give a picture of one handwritten digit with some empty paper around it"


def read_images(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read digits from a file: one from a picture, all from an IDX file.

    Args:
        path: a picture of one handwritten digit (PNG, JPEG, BMP, GIF, TIFF, WebP, PGM or PPM; the
            first frame or page), or an IDX file of images (``t10k-images-idx3-ubyte``, plain or
            gzip). Which it is is found from its contents. ``-`` is standard input.

    Returns:
        uint8 ``(N, 1, 28, 28)``, 0 background, 255 ink. A picture goes through :func:`to_mnist`;
        IDX images are taken as they are.

    Raises:
        InputError: the file is missing, unreadable or damaged, holds something else (labels,
            images of another size), or its picture shows no digit.
    """
    where = Path(path)
    with picture_file.opened(where) as stream:
        start = stream.read(picture_file.START)
        stream.seek(0)
        picture_file.check_kind(start, where)
        if not picture_file.is_idx(start):
            picture = picture_file.decode(stream, where, MAX_PIXELS)
        else:
            images = read_idx_stream(stream, where)
            if images.shape[1:] != (SIDE, SIDE):
                what = "labels" if images.ndim == 1 else "an array"
                raise InputError(
                    f"{where}: holds {what} of shape {images.shape}; wanted images, "
                    f"(N, {SIDE}, {SIDE}): name MNIST's images file, or a picture"
                )
            return images[:, np.newaxis]
    try:
        return to_mnist(picture)[np.newaxis]
    except InputError as fault:
        raise InputError(f"{where}: {fault}") from fault


def to_mnist(picture: Image.Image | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn a picture of one handwritten digit into an image as MNIST's are.

    Dark on light or light on dark is found from the picture's border; uneven light, noise and
    specks are taken away; what is transparent is background. A 28 by 28 picture that is light on
    a black border is taken for MNIST's own framing and returned as it is.

    Args:
        picture: a Pillow image of any mode, or uint8 ``(H, W)``, ``(H, W, 1)`` grey,
            ``(H, W, 3)`` RGB, ``(H, W, 4)`` RGBA or ``(1, 28, 28)``.

    Returns:
        uint8 ``(1, 28, 28)``, 0 background, 255 ink.

    Raises:
        InputError: the array is of another kind, or the picture is too small, too large or blank.
    """
    image = _from_array(picture) if isinstance(picture, np.ndarray) else picture
    width, height = image.size
    if min(width, height) < _LEAST_SIDE:
        raise InputError(
            f"the picture is {width} by {height} pixels; wanted at least {_LEAST_SIDE} by "
            f"{_LEAST_SIDE}: {_AS_WANTED}"
        )
    if width * height > MAX_PIXELS:
        raise InputError(
            f"the picture is {width} by {height} pixels; wanted at most {MAX_PIXELS} in all: "
            "scale it down or crop it to the digit"
        )
    planes = _planes(image)
    if planes.shape[:2] == (SIDE, SIDE) and (framed := _as_mnist(planes)) is not None:
        return framed
    ink = _digit(planes)
    if ink is None:
        raise InputError(
            "the picture is blank: nothing in it stands out from its background; wanted one "
            f"handwritten digit: {_AS_WANTED}"
        )
    return _centred(_scaled(ink))


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.shape == (1, SIDE, SIDE):
        array = array[0]
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    grey = array.ndim == 2
    if array.dtype != np.uint8 or not (grey or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"the picture is {array.dtype} {array.shape}; wanted uint8 (H, W), (H, W, 1), "
            f"(H, W, 3), (H, W, 4) or (1, {SIDE}, {SIDE}): convert it first"
        )
    if array.size == 0:
        raise InputError(f"the picture's shape is {array.shape}: it is empty; {_AS_WANTED}")
    return Image.fromarray(np.ascontiguousarray(array))


def _planes(image: Image.Image) -> Floats:
    """Give the picture as ``(H, W, C)``, 0 to 255, C = 1 or 3, on an opaque background."""
    factor = max(min(-(-max(image.size) // _WORKING_SIDE), min(image.size) // _LEAST_SIDE), 1)
    if image.mode[0] in "IF":
        levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        if image.mode.startswith("I;16") or levels.max() > 255:
            image = picture_file.eight_bits(image)
        else:
            grey = Image.fromarray(np.clip(levels, 0, 255).astype(np.float32))
            return np.asarray(grey.reduce(factor), dtype=np.float32)[:, :, np.newaxis]
    if image.mode == "La":
        image = image.convert("LA")  # Pillow converts it to nothing else
    if image.has_transparency_data:
        return _opaque(np.asarray(image.convert("RGBA").reduce(factor), dtype=np.float32))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L").reduce(factor), dtype=np.float32)[:, :, np.newaxis]
    return np.asarray(image.convert("RGB").reduce(factor), dtype=np.float32)


def _opaque(planes: Floats) -> Floats:
    """Lay a picture with alpha on a background that shows its ink."""
    colour, alpha = planes[:, :, :3], planes[:, :, 3:] / 255
    solid = colour[alpha[:, :, 0] > 0.5]
    if len(solid) == 0:
        return np.zeros_like(colour)
    if np.ptp(np.percentile(solid.mean(axis=1), (1, 99))) > 64:
        # It shows paper and ink; what is cut away around them was paper.
        ground = np.median(solid, axis=0)
    else:
        # It is ink alone: a light one wants a dark ground.
        ground = np.full(3, 0 if solid.mean() > 127 else 255, dtype=np.float32)
    return (colour * alpha + ground * (1 - alpha)).astype(np.float32)


def _as_mnist(planes: Floats) -> npt.NDArray[np.uint8] | None:
    grey: npt.NDArray[np.uint8] = planes.mean(axis=2).round().astype(np.uint8)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    # MNIST has a few digits that touch the border.
    if grey.max() < 3 * _BLACK or (border <= _BLACK).mean() < 0.9:
        return None
    return grey[np.newaxis]


def _digit(planes: Floats) -> Ink | None:
    """Find the ink; where it turns out to be the paper, on a table or in a frame, look on that."""
    ink = find_ink(planes)
    if ink is None:
        return None
    top, bottom, left, right = _bounds(ink)
    mask = ink.mask[top:bottom, left:right]
    height, width = mask.shape
    rim = 1 + min(height, width) // 50
    inner = mask[rim:-rim, rim:-rim]
    if (
        min(inner.shape, default=0) < SIDE
        or mask.size < 0.15 * ink.mask.size
        or mask.mean() < 0.6
        or (mask.sum() - inner.sum()) < 0.75 * (mask.size - inner.size)
    ):
        return ink
    rim += min(height, width) // 50
    paper = planes[top + rim : bottom - rim, left + rim : right - rim]
    written = find_ink(paper)
    return written if written is not None and written.contrast > ink.contrast / 4 else ink


def _bounds(ink: Ink) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(ink.mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _scaled(ink: Ink) -> Floats:
    """Scale the ink so that its longer side is 20 pixels, ``(h, w)`` of 0 to 1."""
    fine = _resized(ink, 0)
    # A line of length l and width w has area l * w and a contour of about 2 * l; on a grid the
    # contour counts 4 / pi times too long.
    mask = np.pad(fine > 0.5, 1)
    contour = sum(int(np.diff(mask, axis=axis).sum()) for axis in (0, 1)) * np.pi / 4
    width = 2 * float(mask.sum()) / max(contour, 1.0)
    if width < _THIN * _FINE:
        rounds = max(round((_THIN * _FINE - width) / 2), 1)
        fine = _resized(ink, rounds)
        for turn in range(rounds):
            fine = _thicken(fine, diagonal=turn % 2 == 1)
    blocks = fine.reshape(fine.shape[0] // _FINE, _FINE, fine.shape[1] // _FINE, _FINE)
    digit: Floats = blocks.mean(axis=(1, 3), dtype=np.float32)
    return digit


def _resized(ink: Ink, margin: int) -> Floats:
    """Scale to _FINE times the final size, leaving an empty margin inside it."""
    top, bottom, left, right = _bounds(ink)
    longest = max(bottom - top, right - left)
    height, width = (
        max(round((BOX * _FINE - 2 * margin) * size / longest), 1)
        for size in (bottom - top, right - left)
    )
    box = (left, top, right, bottom)
    scaled = Image.fromarray(ink.amount).resize((width, height), Image.Resampling.BILINEAR, box=box)
    # Filled up to whole final pixels, not stretched to them: the aspect stays.
    around = [(margin, margin + -(size + 2 * margin) % _FINE) for size in (height, width)]
    return np.pad(np.asarray(scaled, dtype=np.float32), around)


def _thicken(values: Floats, *, diagonal: bool) -> Floats:
    """Widen the ink by one pixel, in four directions or in eight: in turn they make an octagon."""
    padded = np.pad(values, 1)
    height, width = values.shape
    shifts = [(0, 1), (2, 1), (1, 0), (1, 2)]
    if diagonal:
        shifts += [(0, 0), (0, 2), (2, 0), (2, 2)]
    wide = values.copy()
    for y, x in shifts:
        np.maximum(wide, padded[y : y + height, x : x + width], out=wide)
    return wide


def _centred(digit: Floats) -> npt.NDArray[np.uint8]:
    """Place a digit of at most 20 by 20 in 28 by 28, its centre of mass on pixel 14."""
    digit = digit / digit.max()
    mass = digit.sum()
    image = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
    corner = []
    for axis, size in enumerate(digit.shape):
        centre = float((digit.sum(axis=1 - axis) * np.arange(size)).sum() / mass)
        corner.append(min(max(round(SIDE // 2 - centre), 0), SIDE - size))
    y, x = corner
    image[0, y : y + digit.shape[0], x : x + digit.shape[1]] = (digit * 255).round()
    return image
