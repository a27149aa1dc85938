"""The IDX file format of MNIST: read and written strictly, plain or gzip-compressed.

A file is a header and then the bytes of one array in C order::

    byte 0, 1   zero
    byte 2      element type; 0x08, unsigned byte, is the only one taken here
    byte 3      number of dimensions, 1 to 4
    then        one big-endian uint32 per dimension, then the elements, and nothing after them

Format: http://yann.lecun.com/exdb/mnist/ ("the IDX file format").
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from math import prod
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from mnistkit.common.errors import InputError
from mnistkit.common.paths import replacing

MAX_BYTES = 1 << 30
"""Largest array read or written, in bytes; EMNIST's largest image file is about 550 MB."""

_UINT8 = 0x08
_MAX_DIMS = 4
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_INT32 = 0x0C
_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32"}
_TYPES[0x0E] = "float64"
_PEOPLE = {_UINT8: "unsigned bytes", _INT32: "integers of 32 bits"}


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Compression is recognised by the file's first bytes, not by its name.

    Args:
        path: the file, plain or gzip.

    Returns:
        A writable, contiguous uint8 array of the shape that the header states: ``(N,)`` for
        labels, ``(N, 28, 28)`` for MNIST images.

    Raises:
        InputError: the file is missing or unreadable, is not IDX of type 0x08, is larger than
            ``MAX_BYTES``, or is shorter or longer than its header says.
    """
    return _read_file(Path(path), _UINT8)


def _read_file(where: Path, kind: int) -> npt.NDArray[np.uint8]:
    try:
        if not where.exists():
            raise InputError(f"{where}: no such file; wanted an IDX file: check the path")
        if not where.is_file():
            raise InputError(f"{where}: not a plain file; wanted an IDX file: name the file itself")
        with where.open("rb") as raw:
            return read_idx_stream(raw, where, kind)
    except OSError as fault:
        raise InputError(
            f"{where}: cannot be read ({fault.strerror or fault}): check its permissions"
        ) from fault


def read_idx_int32(path: str | os.PathLike[str]) -> npt.NDArray[np.int32]:
    """Read an IDX file of int32, for example QMNIST's labels; otherwise as :func:`read_idx`."""
    parts = _read_file(Path(path), _INT32)
    return parts.view(">i4")[..., 0].astype(np.int32)


def read_idx_stream(raw: BinaryIO, where: Path, kind: int = _UINT8) -> npt.NDArray[np.uint8]:
    """Read IDX as :func:`read_idx` does, from an open stream at its start; ``where`` names it.

    A gzip file of several members, one after the other, is read whole.
    """
    compressed = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    if not compressed:
        return _read(raw, where, kind)
    try:
        with gzip.GzipFile(fileobj=raw) as stream:
            return _read(cast("IO[bytes]", stream), where, kind)
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise InputError(
            f"{where}: damaged gzip data ({fault}); wanted a whole file: fetch or copy it again"
        ) from fault


def write_idx(path: str | os.PathLike[str], array: npt.NDArray[np.uint8]) -> None:
    """Write an array as an IDX file; gzip-compressed where the name ends in ``.gz``.

    The file appears under its name only when it is whole; gzip's header holds neither a time stamp
    nor a name, so that writing the same array twice gives the same file.

    Args:
        path: the file to write; its folder is made where it is missing.
        array: uint8, 1 to 4 dimensions, none of them 0.

    Raises:
        InputError: the array is not of that kind, or is larger than ``MAX_BYTES``.
        UsageError: the file cannot be written.
    """
    where = Path(path)
    if array.dtype != np.uint8 or not 1 <= array.ndim <= _MAX_DIMS or array.size == 0:
        raise InputError(
            f"{where}: cannot write {array.dtype} of shape {array.shape} as IDX; wanted uint8 with "
            f"1 to {_MAX_DIMS} dimensions, none of them 0: convert the array first"
        )
    if array.nbytes > MAX_BYTES:
        raise InputError(
            f"{where}: {array.nbytes} bytes is more than the {MAX_BYTES} that an IDX file may hold "
            "here: write it in parts"
        )
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UINT8, array.ndim, *array.shape)
    data = header + np.ascontiguousarray(array).tobytes()
    if where.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    with replacing(where) as temporary:
        temporary.write_bytes(data)


def _read(stream: IO[bytes], where: Path, kind: int = _UINT8) -> npt.NDArray[np.uint8]:
    """The array's bytes; of int32, four in a last dimension of their own."""
    shape = _read_header(stream, where, kind)
    if kind == _INT32:
        shape = (*shape, 4)
    size = prod(shape)
    if size > MAX_BYTES:
        raise InputError(
            f"{where}: the header states shape {shape}, {size} bytes; wanted at most {MAX_BYTES}: "
            "the file is damaged or is not IDX"
        )
    # In chunks, so that a false header costs no more memory than the file really holds.
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(_CHUNK, size - len(data)))
        if not chunk:
            raise InputError(
                f"{where}: truncated: {len(data)} bytes of data; the header states shape {shape}, "
                f"which wants {size}: fetch or copy the file again"
            )
        data += chunk
    # Reading past the end also makes gzip compare its checksum.
    if stream.read(1):
        raise InputError(
            f"{where}: bytes follow the {size} that the header's shape {shape} wants: "
            "fetch or copy the file again"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _read_header(stream: IO[bytes], where: Path, kind: int) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise InputError(
            f"{where}: {len(magic)} bytes in all; wanted an IDX header of at least 8: "
            "fetch or copy the file again"
        )
    if magic[:2] != b"\x00\x00":
        raise InputError(
            f"{where}: starts with bytes {magic.hex(' ')}; an IDX file of unsigned bytes starts "
            "with 00 00 08: this is another format"
        )
    if magic[2] != kind:
        found = _TYPES.get(magic[2], "unknown")
        raise InputError(
            f"{where}: element type 0x{magic[2]:02x} ({found}); wanted 0x{kind:02x} "
            f"({_TYPES[kind]}): convert the file to {_PEOPLE[kind]}"
        )
    ndim = magic[3]
    if not 1 <= ndim <= _MAX_DIMS:
        raise InputError(
            f"{where}: {ndim} dimensions; wanted 1 to {_MAX_DIMS}: the file is damaged or not IDX"
        )
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise InputError(
            f"{where}: truncated in the header: {len(sizes)} bytes of dimensions; {ndim} of them "
            f"want {4 * ndim}: fetch or copy the file again"
        )
    shape = struct.unpack(f">{ndim}I", sizes)
    if 0 in shape:
        raise InputError(
            f"{where}: the header states shape {shape}, which holds nothing; wanted at least one "
            "element: the file is empty or damaged"
        )
    return tuple(shape)
