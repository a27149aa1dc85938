"""The golden digits: twenty pictures, drawn by this project, that go with every artifact.

With their labels and the reference's logits in each precision they let any loader, in any
language, check itself without a data set. ``golden.npz`` is numpy's own format, members stored and
not compressed, so that a reader without numpy needs few lines (``cpp/core/npz.cpp``):

``images``        uint8 ``(n, 1, 28, 28)``, 0 background, 255 ink
``labels``        uint8 ``(n,)``, the class that was drawn
``classes``       bytes ``(10,)``, the name of each class in UTF-8
``logits_fp32``   float32 ``(n, 10)``, of the net as it was trained
``logits_fp16``   the same of that net with its weights rounded to fp16, computed in fp32
``logits_int8``   the same of the integer reference

The last two are there where the artifact holds that precision.

Schema 1 had the logits of fp32 alone, as ``logits``, and no ``classes``.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mnistkit.artifact.folder import PRECISIONS
from mnistkit.common.errors import ArtifactError, InputError
from mnistkit.common.images import SIDE
from mnistkit.common.paths import replacing

MAX_DIGITS = 1024
"""Most digits that a golden file may hold; a reader refuses more."""

CLASSES = 10
_LOGITS = "logits_"
_DIGITS = Path(__file__).with_name("golden_digits.pgm")
_SCHEMA_1 = {"images", "labels", "logits"}
_MAX_BYTES = MAX_DIGITS * (SIDE * SIDE + 1 + 4 * CLASSES * len(PRECISIONS)) + (1 << 14)
_AGAIN = "export the artifact again"


class Golden(NamedTuple):
    """What a golden file holds, n digits.

    ``images`` is uint8 ``(n, 1, 28, 28)``, ``labels`` uint8 ``(n,)``; ``logits`` has float32
    ``(n, 10)`` for each precision of the artifact; ``classes`` are the names of
    the ten classes, or empty in a file of schema 1.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    logits: Mapping[str, npt.NDArray[np.float32]]
    classes: tuple[str, ...]

    def correct(self) -> dict[str, int]:
        """How many digits each precision's reference reads as what was drawn."""
        return {
            precision: int((logits.argmax(1) == self.labels).sum())
            for precision, logits in self.logits.items()
        }


def golden_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The golden digits, as ``golden_digits.pgm`` holds them: one below the other.

    They were drawn by this project as pen strokes (``tests/strokes.py``).

    Returns:
        images, uint8 ``(20, 1, 28, 28)`` framed like MNIST (0 background, 255 ink), and labels,
        uint8 ``(20,)``: 0, 0, 1, 1 and so on to 9, 9. The arrays are the caller's own.
    """
    _, _, _, _, *pixels = _DIGITS.read_text("ascii").split()  # P2, width, height, 255
    images = np.array(pixels, np.uint8)
    labels = np.repeat(np.arange(CLASSES, dtype=np.uint8), 2)
    return images.reshape(len(labels), 1, SIDE, SIDE), labels


def write_golden(path: str | os.PathLike[str], golden: Golden) -> None:
    """Write ``golden.npz``, whole or not at all.

    Raises:
        InputError: an array is not of the kind that :class:`Golden` names, n is not 1 to
            ``MAX_DIGITS``, or a logit is not finite.
        UsageError: the file cannot be written.
    """
    if fault := _fault(golden):
        raise InputError(f"{path}: {fault}: correct the arrays before they are written")
    arrays: dict[str, npt.NDArray[Any]] = {
        "images": golden.images,
        "labels": golden.labels,
        "classes": np.array([name.encode() for name in golden.classes]),
    }
    for precision, logits in golden.logits.items():
        arrays[_LOGITS + precision] = logits.astype("<f4", copy=False)
    # To an open file: numpy would add ".npz" to a path that ends in anything else.
    whole: dict[str, Any] = {name: np.ascontiguousarray(each) for name, each in arrays.items()}
    with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **whole)


def read_golden(path: str | os.PathLike[str]) -> Golden:
    """Read ``golden.npz``, of this schema or the first; nothing in it is unpickled.

    Returns:
        The arrays, contiguous and in the machine's byte order.

    Raises:
        ArtifactError: the file is missing, unreadable, of another format or damaged.
    """
    content = _bounded(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # Stored members cannot grow past the bytes that were read.
            if any(info.compress_type or info.flag_bits & 1 for info in archive.infolist()):
                raise ArtifactError(
                    f"{path}: compressed or encrypted; wanted what numpy.savez writes: {_AGAIN}"
                )
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            arrays = dict(held)
    except (
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        KeyError,
        NotImplementedError,
        MemoryError,
        SyntaxError,
    ) as fault:
        raise ArtifactError(f"{path}: not a whole npz file ({fault}): {_AGAIN}") from fault
    if set(arrays) == _SCHEMA_1:
        arrays[f"{_LOGITS}fp32"] = arrays.pop("logits")
        classes: tuple[str, ...] = ()
    elif {"images", "labels", "classes", f"{_LOGITS}fp32"} - set(arrays):
        raise ArtifactError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; wanted images, labels, "
            f"classes and {_LOGITS}fp32: {_AGAIN}"
        )
    else:
        classes = _names(path, arrays["classes"])
    logits = {
        name.removeprefix(_LOGITS): array
        for name, array in arrays.items()
        if name.startswith(_LOGITS)
    }
    golden = Golden(arrays["images"], arrays["labels"], logits, classes)
    if damage := _fault(golden):
        raise ArtifactError(f"{path}: {damage}: the file is damaged, {_AGAIN}")
    return golden._replace(logits={name: each.astype(np.float32) for name, each in logits.items()})


def _names(path: str | os.PathLike[str], classes: npt.NDArray[Any]) -> tuple[str, ...]:
    if classes.dtype.kind != "S" or classes.ndim != 1:
        raise ArtifactError(f"{path}: classes are {classes.dtype}; wanted names: {_AGAIN}")
    try:
        return tuple(name.decode() for name in classes.tolist())
    except UnicodeDecodeError as fault:
        raise ArtifactError(f"{path}: classes are not UTF-8 ({fault}): {_AGAIN}") from fault


def _fault(golden: Golden) -> str | None:
    """What is wrong with the arrays, or None."""
    n = len(golden.images) if golden.images.ndim else 0
    if not 1 <= n <= MAX_DIGITS:
        return f"{n} golden digits; wanted 1 to {MAX_DIGITS}"
    arrays: list[tuple[str, npt.NDArray[Any], Any, tuple[int, ...]]] = [
        ("images", golden.images, np.uint8, (n, 1, SIDE, SIDE)),
        ("labels", golden.labels, np.uint8, (n,)),
        *((f"{p} logits", each, np.float32, (n, CLASSES)) for p, each in golden.logits.items()),
    ]
    for name, array, dtype, shape in arrays:
        if array.dtype != dtype or array.shape != shape:
            return f"{name} are {array.dtype} {array.shape}; wanted {np.dtype(dtype)} {shape}"
    if (highest := int(golden.labels.max())) >= CLASSES:
        return f"a label of {highest}; wanted 0 to {CLASSES - 1}"
    if golden.classes and len(golden.classes) != CLASSES:
        return f"{len(golden.classes)} classes; wanted {CLASSES}"
    if "fp32" not in golden.logits or set(golden.logits) - set(PRECISIONS):
        return f"logits of {', '.join(golden.logits) or 'nothing'}; wanted fp32, fp16 and int8"
    if not all(np.isfinite(each).all() for each in golden.logits.values()):
        return "logits that are not finite; wanted finite float32"
    return None


def _bounded(path: str | os.PathLike[str]) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as fault:
        raise ArtifactError(
            f"{path}: cannot be read ({fault.strerror or fault}); wanted golden digits: {_AGAIN}"
        ) from fault
    if len(content) > _MAX_BYTES:
        raise ArtifactError(f"{path}: more than {_MAX_BYTES} bytes; wanted golden digits: {_AGAIN}")
    return content
