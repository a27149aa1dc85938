"""The golden digits: twenty pictures, drawn by this project, that go with every artifact.

With their labels and a reference's logits they let any loader, in any language, check itself
without a data set. They are kept in two forms that hold the same arrays:

``golden.npz``  numpy's format, with the keys ``images``, ``labels`` and ``logits``.

``golden.bin``  for readers without numpy; little-endian, nothing between and nothing after::

    8 bytes           magic "MNKGOLD1"
    uint32            n
    uint32            0
    n * 10 float32    logits
    n * 784 uint8     images, 0 background, 255 ink
    n uint8           labels, 0 to 9
"""

from __future__ import annotations

import functools
import io
import math
import os
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mnistkit.errors import ArtifactError, InputError
from mnistkit.paths import replacing
from mnistkit.strokes import DRAWINGS, SIDE, draw

MAGIC = b"MNKGOLD1"
"""First eight bytes of ``golden.bin``; the last of them is the format's version."""

MAX_DIGITS = 1024
"""Most digits that a golden file may hold; a reader refuses more before it reads them."""

CLASSES = 10

_HEADER = struct.Struct("<8sII")
_PIXELS = SIDE * SIDE
_DIGIT_BYTES = 4 * CLASSES + _PIXELS + 1
_ZIP_BYTES = 1 << 14  # more than the headers in a zip file of three arrays take
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..{'descr': '([^']{1,8})', 'fortran_order': (False|True), "
    rb"'shape': \((\d{1,9},[\d, ]*)\), } *\n",
    re.DOTALL,
)
_AGAIN = "export the artifact again"


class Golden(NamedTuple):
    """What a golden file holds, n digits.

    ``images`` is uint8 ``(n, 1, 28, 28)``, ``labels`` uint8 ``(n,)``, ``logits`` float32
    ``(n, 10)``.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float32]


def golden_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw the golden digits, the same to the byte on every platform.

    Returns:
        images, uint8 ``(20, 1, 28, 28)`` framed like MNIST (0 background, 255 ink), and labels,
        uint8 ``(20,)``: 0, 0, 1, 1 and so on to 9, 9. The arrays are the caller's own.
    """
    images, labels = _drawn()
    return images.copy(), labels.copy()


def write_golden_bin(
    path: str | os.PathLike[str],
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    logits: npt.NDArray[np.float32],
) -> None:
    """Write ``golden.bin``, whole or not at all.

    Args:
        path: the file to write.
        images: uint8 ``(n, 1, 28, 28)``, n from 1 to ``MAX_DIGITS``.
        labels: uint8 ``(n,)``, 0 to 9.
        logits: float32 ``(n, 10)``, finite.

    Raises:
        InputError: an array is not of that kind.
        UsageError: the file cannot be written.
    """
    golden = _wanted(path, images, labels, logits)
    content = b"".join(
        (
            _HEADER.pack(MAGIC, len(images), 0),
            golden.logits.astype("<f4", copy=False).tobytes(),
            golden.images.tobytes(),
            golden.labels.tobytes(),
        )
    )
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(content)


def read_golden_bin(path: str | os.PathLike[str]) -> Golden:
    """Read ``golden.bin``.

    Returns:
        The arrays, contiguous and in the machine's byte order.

    Raises:
        ArtifactError: the file is missing, unreadable, of another format or damaged.
    """
    content = _bounded(path, _HEADER.size + MAX_DIGITS * _DIGIT_BYTES)
    if len(content) < _HEADER.size:
        raise ArtifactError(
            f"{path}: {len(content)} bytes; wanted a header of {_HEADER.size}: {_AGAIN}"
        )
    magic, n, reserved = _HEADER.unpack_from(content)
    if magic != MAGIC:
        raise ArtifactError(
            f"{path}: starts with {magic!r}; wanted {MAGIC!r}: this is another format or version"
        )
    if reserved != 0:
        raise ArtifactError(f"{path}: bytes 12 to 15 hold {reserved}; wanted 0: {_AGAIN}")
    if not 1 <= n <= MAX_DIGITS:
        raise ArtifactError(f"{path}: {n} digits; wanted 1 to {MAX_DIGITS}: {_AGAIN}")
    size = _HEADER.size + n * _DIGIT_BYTES
    if len(content) != size:
        raise ArtifactError(
            f"{path}: {len(content)} bytes; {n} digits want {size}: the file is damaged, {_AGAIN}"
        )
    at_images = _HEADER.size + 4 * CLASSES * n
    at_labels = at_images + _PIXELS * n
    logits = np.frombuffer(content, "<f4", n * CLASSES, _HEADER.size)
    images = np.frombuffer(content, np.uint8, n * _PIXELS, at_images)
    labels = np.frombuffer(content, np.uint8, n, at_labels)
    return _sound(
        path,
        Golden(
            images.reshape(n, 1, SIDE, SIDE).copy(),
            labels.copy(),
            logits.reshape(n, CLASSES).astype(np.float32),
        ),
    )


def write_golden_npz(
    path: str | os.PathLike[str],
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    logits: npt.NDArray[np.float32],
) -> None:
    """Write ``golden.npz``; arguments and errors are those of :func:`write_golden_bin`."""
    golden = _wanted(path, images, labels, logits)
    # To an open file: numpy would add ".npz" to a path that ends in anything else.
    with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            images=golden.images,
            labels=golden.labels,
            logits=golden.logits.astype("<f4", copy=False),
        )


def read_golden_npz(path: str | os.PathLike[str]) -> Golden:
    """Read ``golden.npz``; nothing in it is unpickled, and its sizes are checked beforehand.

    Returns:
        The arrays, as :func:`read_golden_bin` gives them.

    Raises:
        ArtifactError: the file is missing, unreadable, of another format or damaged.
    """
    content = _bounded(path, MAX_DIGITS * _DIGIT_BYTES + _ZIP_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            held = sorted(info.filename for info in archive.infolist())
            wanted = sorted(f"{name}.npy" for name in Golden._fields)
            if held != wanted:
                raise ArtifactError(f"{path}: holds {held}; wanted {wanted}: {_AGAIN}")
            # Uncompressed members cannot grow past the bytes that were read.
            if any(info.compress_type or info.flag_bits & 1 for info in archive.infolist()):
                raise ArtifactError(
                    f"{path}: compressed or encrypted; wanted what numpy.savez writes: {_AGAIN}"
                )
            images = _member(path, archive, "images", "|u1", f"1, {SIDE}, {SIDE}")
            labels = _member(path, archive, "labels", "|u1", "")
            logits = _member(path, archive, "logits", "<f4", f"{CLASSES}")
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, NotImplementedError) as fault:
        raise ArtifactError(f"{path}: not a whole npz file ({fault}): {_AGAIN}") from fault
    if not 1 <= len(images) == len(labels) == len(logits) <= MAX_DIGITS:
        raise ArtifactError(
            f"{path}: {len(images)} images, {len(labels)} labels, {len(logits)} rows of logits; "
            f"wanted the same number of each, 1 to {MAX_DIGITS}: {_AGAIN}"
        )
    return _sound(path, Golden(images.copy(), labels.copy(), logits.astype(np.float32)))


@functools.cache
def _drawn() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    images = np.stack([draw(drawing) for drawing in DRAWINGS])[:, np.newaxis]
    return images, np.array([drawing.digit for drawing in DRAWINGS], dtype=np.uint8)


def _wanted(
    path: str | os.PathLike[str],
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    logits: npt.NDArray[np.float32],
) -> Golden:
    """Check what is about to be written."""
    n = len(images) if images.ndim else 0
    if not 1 <= n <= MAX_DIGITS:
        raise InputError(f"{path}: {n} golden digits; wanted 1 to {MAX_DIGITS}: give fewer")
    for name, array, dtype, shape in (
        ("images", images, np.uint8, (n, 1, SIDE, SIDE)),
        ("labels", labels, np.uint8, (n,)),
        ("logits", logits, np.float32, (n, CLASSES)),
    ):
        if array.dtype != dtype or array.shape != shape:
            raise InputError(
                f"{path}: {name} are {array.dtype} {array.shape}; wanted {np.dtype(dtype)} "
                f"{shape}: convert them first"
            )
    golden = Golden(*map(np.ascontiguousarray, (images, labels, logits)))
    if fault := _fault(golden):
        raise InputError(f"{path}: {fault}: correct the arrays before they are written")
    return golden


def _sound(path: str | os.PathLike[str], golden: Golden) -> Golden:
    """Check what was read."""
    if fault := _fault(golden):
        raise ArtifactError(f"{path}: {fault}: the file is damaged, {_AGAIN}")
    return golden


def _fault(golden: Golden) -> str | None:
    if (highest := int(golden.labels.max())) >= CLASSES:
        return f"a label of {highest}; wanted 0 to {CLASSES - 1}"
    if not np.isfinite(golden.logits).all():
        return "logits that are not finite; wanted finite float32"
    return None


def _bounded(path: str | os.PathLike[str], bound: int) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(bound + 1)
    except OSError as fault:
        raise ArtifactError(
            f"{path}: cannot be read ({fault.strerror or fault}); wanted golden digits: {_AGAIN}"
        ) from fault
    if len(content) > bound:
        raise ArtifactError(f"{path}: more than {bound} bytes; wanted golden digits: {_AGAIN}")
    return content


def _member(
    path: str | os.PathLike[str], archive: zipfile.ZipFile, name: str, descr: str, tail: str
) -> npt.NDArray[Any]:
    """Read one array, having compared its header with what is wanted and with its length."""
    content = archive.read(f"{name}.npy")
    # The header is matched, not evaluated: there is one way in which numpy writes it.
    header = _NPY.match(content)
    if header is None:
        raise ArtifactError(f"{path}: {name} have no npy header of version 1.0: {_AGAIN}")
    found, order, shape = (group.decode("ascii") for group in header.groups())
    count, _, rest = shape.partition(",")
    if found != descr or order != "False" or rest.strip() != tail:
        raise ArtifactError(
            f"{path}: {name} are {found!r} ({shape}), column order {order}; wanted {descr!r} "
            f"(n, {tail}) in row order: {_AGAIN}"
        )
    sizes = (int(count), *(int(size) for size in tail.split(", ") if size))
    array = np.frombuffer(content, descr, offset=header.end())
    if array.size != math.prod(sizes):
        raise ArtifactError(
            f"{path}: {name} hold {array.size} elements; shape {sizes} wants {math.prod(sizes)}: "
            f"{_AGAIN}"
        )
    return array.reshape(sizes)
