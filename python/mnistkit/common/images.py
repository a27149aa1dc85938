"""The contract of every runtime: uint8 images in, float32 logits out; the one check of an input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.common.errors import InputError

SIDE = 28
"""Height and width of an image, in pixels."""

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]


def check_images(images: Any) -> Images:
    """Return images as contiguous uint8 ``(N, 1, 28, 28)``, or raise :class:`InputError`.

    A view that is not contiguous is copied; another dtype or shape is refused, because a float
    array in 0..1 would be read as a blank picture.
    """
    if not isinstance(images, np.ndarray):
        raise InputError(
            f"images: got {type(images).__name__}, wanted a numpy array, uint8 (N, 1, 28, 28)"
        )
    if images.dtype != np.uint8:
        raise InputError(
            f"images: got dtype {images.dtype}, wanted uint8 with 0 = background and 255 = ink; "
            f"for floats in 0..1: (images * 255).round().astype('uint8')"
        )
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
        raise InputError(
            f"images: got shape {images.shape}, wanted (N, 1, 28, 28); "
            f"for one picture: images.reshape(1, 1, 28, 28)"
        )
    return np.ascontiguousarray(images)
