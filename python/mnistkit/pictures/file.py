"""Picture files: which kind a file is, by its first bytes, and its decoding with Pillow.

What a picture is made into is :mod:`mnistkit.pictures.preprocess`.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from mnistkit.common.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Formats of pictures that are read, beside IDX, by Pillow's names; PPM is PBM, PGM and PNM too."""

WANTED = "PNG, JPEG, BMP, GIF, TIFF, WebP, PGM or PPM"
"""The same for people."""

STANDARD_INPUT = Path("-")
MAX_BYTES = 1 << 30
"""Most bytes taken from a pipe or from standard input."""

START = 1024  # bytes that a kind is recognised by
_READ = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_TO_PNG = "convert it to PNG"
_UNPACK = "unpack it and name the pictures in it"
# What else a file may be: its first bytes, its name, and what to do.
_OTHERS = (
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL picture", _TO_PNG),
    (b"\xff\x0a", "a JPEG XL picture", _TO_PNG),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", _TO_PNG),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _TO_PNG),
    (b"\x00\x00\x01\x00", "a Windows icon", _TO_PNG),
    (b"\x00\x00\x02\x00", "a Windows cursor or a TGA picture", _TO_PNG),
    (b"\x00\x00\x0a\x00", "a TGA picture", _TO_PNG),
    (b"8BPS", "a Photoshop document", _TO_PNG),
    (b"gimp xcf", "a GIMP document", _TO_PNG),
    (b"v/1\x01", "an OpenEXR picture", _TO_PNG),
    (b"#?RADIANCE", "a Radiance picture", _TO_PNG),
    (b"qoif", "a QOI picture", _TO_PNG),
    (b"DDS ", "a DirectDraw texture", _TO_PNG),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", _TO_PNG),
    (b"%PDF", "a PDF document", "save its page as PNG (for example: pdftoppm -png FILE page)"),
    (b"%!PS", "a PostScript document", "save its page as PNG"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document", "save its page as PNG"),
    (b"AT&TFORM", "a DjVu document", "save its page as PNG"),
    (b"PK\x03\x04", "a ZIP archive or an office document", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"BZh", "a bzip2 file", _UNPACK),
    (b"\xfd7zXZ", "an xz file", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", _UNPACK),
    (b"\x93NUMPY", "a NumPy array", "save its images with PIL.Image.fromarray"),
    (b"\x89HDF", "an HDF5 file", "save its images as PNG"),
    (b"PAR1", "a Parquet file", "save its images as PNG"),
    (b"SIMPLE  =", "a FITS picture", _TO_PNG),
)
# Brands of the ISO container that phones' pictures and films share.
_BRANDS = (
    ((b"avif", b"avis"), "an AVIF picture"),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC picture"),
    ((b"crx ",), "a camera's raw file"),
)


@contextmanager
def opened(where: Path) -> Iterator[BinaryIO]:
    """Give a file as a stream that can be sought in; ``-`` is standard input.

    Raises :class:`InputError` where it cannot be read.
    """
    try:
        if where == STANDARD_INPUT:
            yield _held(sys.stdin.buffer, where)
            return
        with where.open("rb") as stream:
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                yield stream
            else:
                yield _held(stream, where)
    except OSError as fault:
        raise InputError(
            f"{where}: cannot be read ({fault.strerror or fault}); wanted a picture "
            f"({WANTED}) or an IDX file of images: check the path"
        ) from fault


def _held(stream: IO[bytes], where: Path) -> BinaryIO:
    """Read a pipe or a device into memory; what is no picture is refused by its first bytes."""
    start = stream.read(START)
    check_kind(start, where)
    data = start + stream.read(MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise InputError(f"{where}: more than {MAX_BYTES} bytes; wanted one file: give it by name")
    return io.BytesIO(data)


def is_idx(start: bytes) -> bool:
    """Whether a file that starts so is IDX, of any element type, or gzip, which may hold it."""
    if len(start) < 4 or start[:2] != b"\0\0":
        return start[:2] == b"\x1f\x8b"
    return start[2] in (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E) and 1 <= start[3] <= 4


def check_kind(start: bytes, where: Path) -> None:
    """Refuse a file that is nothing we read, by its first bytes, for what it is."""
    wanted = f"wanted {WANTED} or an IDX file of images"
    if not start:
        raise InputError(f"{where}: an empty file; {wanted}: save it again")
    if other := _other(start):
        what, advice = other
        raise InputError(f"{where}: {what}, which is not read here; {wanted}: {advice}")
    if not (is_idx(start) or _is_read(start)):
        raise InputError(f"{where}: not a picture in a known format; {wanted}: {_TO_PNG}")


def _is_read(start: bytes) -> bool:
    netpbm = start[:1] == b"P" and start[1:2] in (*(b"%d" % kind for kind in range(1, 8)), b"f")
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(_READ) or webp or netpbm


def _other(start: bytes) -> tuple[str, str] | None:
    if start[4:8] == b"ftyp":
        box = int.from_bytes(start[:4], "big")
        brands = [start[8:12], *(start[at : at + 4] for at in range(16, min(box, len(start)), 4))]
        for names, what in _BRANDS:
            if any(brand in names for brand in brands):
                return what, _TO_PNG
        return "a film (MP4 or QuickTime)", "save one picture of it as PNG"
    for magic, what, advice in _OTHERS:
        if start.startswith(magic):
            return what, advice
    if start[:4] == b"II*\0" and start[8:10] == b"CR":
        return "a camera's raw file", _TO_PNG
    if start[128:132] == b"DICM":
        return "a DICOM picture", _TO_PNG
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in text:
        return "an SVG drawing", "save it as PNG"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page", "fetch the picture itself"
    return None


def decode(stream: BinaryIO, where: Path, max_pixels: int) -> Image.Image:
    """Decode a picture, upright; of several frames or pages, the first.

    Raises :class:`InputError` for more than ``max_pixels`` pixels and for a damaged file.
    """
    too_large = "scale it down or crop it to the digit"
    try:
        with warnings.catch_warnings():
            # Of sizes, which are refused by name, and of tags that the picture does without.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise InputError(
                        f"{where}: {width} by {height} pixels; wanted at most {max_pixels} in all: "
                        f"{too_large}"
                    )
                picture.load()
                decoded: Image.Image = picture
                if picture.mode == "I" and picture.format in ("PNG", "PPM"):
                    # Some Pillows give 16 bits so.
                    decoded = Image.fromarray(np.asarray(picture).astype(np.uint16))
                    decoded.getexif().update(picture.getexif())
                # A phone writes down how it was held and leaves the turning to the reader.
                return ImageOps.exif_transpose(decoded)
    except InputError:
        raise
    except Image.DecompressionBombError as fault:
        raise InputError(f"{where}: {fault}: {too_large}") from fault
    except Exception as fault:  # each of Pillow's decoders has its own kinds
        reason = " ".join(str(fault).split()) or type(fault).__name__
        if "cannot identify" in reason:
            reason = "its header cannot be read"
        raise InputError(
            f"{where}: damaged or cut short ({reason}); wanted a whole picture: save it again"
        ) from fault


def eight_bits(image: Image.Image) -> Image.Image:
    """Give a grey picture of 16 bits in 8, mode ``L``.

    Where its largest value is at most 4095 it holds 12 bits, as cameras and scanners give them, and
    4095 is white; else 65535 is. Values are ``round(value * 255 / white)``.
    """
    levels = np.asarray(image).astype(np.int64).clip(0, 65535)
    white = 4095 if levels.max() <= 4095 else 65535
    return Image.fromarray(((levels * 510 + white) // (2 * white)).astype(np.uint8))
