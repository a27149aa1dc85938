"""Pictures of digits of every kind, drawn and written here: sizes, papers, pens, encodings."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image
from strokes import DRAWINGS, Drawing, draw

Array = npt.NDArray[np.uint8]
Random = np.random.Generator


def canvas(random: Random, index: int) -> Array:
    """Ink ``(H, W)``, 0 to 255, sides of 20 to 400: a digit of any pen, anywhere on it."""
    drawing = DRAWINGS[index % len(DRAWINGS)]
    height, width = (int(side) for side in random.integers(20, 401, 2))
    pen = round(float(random.uniform(0.4, 1.5)) * drawing.pen)
    ink = draw(Drawing(drawing.digit, pen, drawing.strokes), scale=int(random.integers(1, 9)))
    share = min(height, width) * random.uniform(0.6, 1) / len(ink)
    side = max(int(len(ink) * share), 18)
    scaled = np.asarray(Image.fromarray(ink).resize((side, side), Image.Resampling.BILINEAR))
    sheet = np.zeros((max(height, side), max(width, side)), np.uint8)
    top, left = (int(random.integers(0, room - side + 1)) for room in sheet.shape)
    sheet[top : top + side, left : left + side] = scaled
    return sheet


def mixed(ink: Array, pen: tuple[int, ...], paper: tuple[int, ...]) -> Array:
    """Ink of one colour on paper of another, ``(H, W, 3)``."""
    share = ink[..., np.newaxis] / 255
    colours: Array = np.rint(np.array(pen) * share + np.array(paper) * (1 - share)).astype(np.uint8)
    return colours


def noisy(picture: Array, random: Random, noise: float) -> Array:
    """Light from one side, and noise."""
    light = np.linspace(random.uniform(0.6, 1), 1, picture.shape[1])
    lit = picture * (light[:, np.newaxis] if picture.ndim == 3 else light)
    taken: Array = (lit + random.normal(0, noise, picture.shape)).clip(0, 255).astype(np.uint8)
    return taken


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def png(array: npt.NDArray[np.generic], **options: object) -> bytes:
    return saved(Image.fromarray(array), "PNG", **options)


def grey_png(grey: Array, depth: int, *, interlaced: bool = False) -> bytes:
    """A grey PNG of 1, 2, 4 or 8 bits, of values that fit them, as Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    passes = (*adam7, (0, 1, 1, 2)) if interlaced else ((0, 0, 1, 1),)
    rows = []
    for left, top, across, down in passes:
        for row in grey[top::down, left::across]:
            if row.size:
                bits = np.unpackbits(row[:, np.newaxis], axis=1)[:, 8 - depth :]
                rows.append(b"\0" + np.packbits(bits).tobytes())
    header = struct.pack(">IIBBBBB", *grey.shape[::-1], depth, 0, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _colours(random: Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A dark and a light colour, in either order."""
    dark, light = random.integers(0, 110, 3), random.integers(160, 256, 3)
    pair = tuple(map(int, dark)), tuple(map(int, light))
    return pair if random.random() < 0.6 else pair[::-1]


def _coloured(ink: Array, random: Random) -> Array:
    return mixed(ink, *_colours(random))


def _palette(ink: Array, random: Random) -> Image.Image:
    return Image.fromarray(_coloured(ink, random)).quantize(int(random.integers(2, 200)))


def _transparent(ink: Array, random: Random) -> Array:
    """A pen of one colour on nothing."""
    colour, _ = _colours(random)
    return np.dstack([np.full((*ink.shape, 3), colour, np.uint8), ink])


def _one_colour_is_nothing(ink: Array, form: str) -> bytes:
    """A PNG that names its transparent colour, which looks as the pen does."""
    written = (ink > 127).astype(np.uint8)
    if form == "P":
        image = Image.fromarray(written)
        image.putpalette([9, 9, 9] * 2)
        return saved(image, "PNG", transparency=0)
    grey = np.where(written, 10, 11).astype(np.uint8)
    array = grey if form == "L" else np.dstack([grey] * 3)
    return png(array, transparency=11 if form == "L" else (11, 11, 11))


def _cut_out(ink: Array, random: Random) -> Array:
    """Paper with torn edges, transparent around it."""
    rim = max(min(ink.shape) // 8, 1)
    alpha = np.zeros_like(ink)
    alpha[rim:-rim, rim:-rim] = 255
    alpha[:rim, rim:-rim] = random.integers(0, 256, (rim, ink.shape[1] - 2 * rim))
    return np.dstack([_coloured(ink, random), alpha])


def _deep(ink: Array, random: Random, most: int) -> npt.NDArray[np.uint16]:
    level = ink if random.random() < 0.4 else 255 - ink
    return np.rint(level / 255 * most).astype(np.uint16)


def _bilevel(ink: Array, random: Random) -> Image.Image:
    level = ink if random.random() < 0.4 else 255 - ink
    return Image.fromarray(level).convert("1", dither=Image.Dither.NONE)


def _turned(ink: Array, random: Random, form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = int(random.integers(1, 9))
    return saved(Image.fromarray(_coloured(ink, random)), form, exif=exif)


def _grey(ink: Array, random: Random) -> bytes:
    return png(255 - ink if random.random() < 0.5 else ink)


def _specked(ink: Array, random: Random) -> Array:
    """Dirt on the paper, and the edge of the table along one side."""
    picture = 255 - ink
    for y, x in random.integers(0, min(ink.shape) - 1, (12, 2)):
        picture[y : y + 1, x : x + 2] = 0
    sheet = np.pad(picture, 12, constant_values=255)
    sheet[:, : int(random.integers(3, 9))] = 40
    return sheet


def _on_a_table(ink: Array, random: Random) -> Array:
    rim = int(random.integers(20, 60))
    return np.pad(255 - ink, rim, constant_values=int(random.integers(20, 90)))


def _large(ink: Array, random: Random) -> Array:
    times = -(-int(random.integers(1700, 2500)) // max(ink.shape))
    return ink.repeat(times, 0).repeat(times, 1)


def _cmyk(ink: Array, random: Random) -> bytes:
    planes = np.dstack([_coloured(ink, random) // 2, 255 - ink])
    return saved(Image.frombytes("CMYK", ink.shape[::-1], planes.tobytes()), "JPEG", quality=90)


def _pgm16(ink: Array, random: Random) -> bytes:
    most = int(random.choice([1023, 4095, 65535]))
    data = _deep(ink, random, most)
    return (
        b"P5\n# made here\n%d %d\n%d\n" % (*data.shape[::-1], most) + data.astype(">u2").tobytes()
    )


def _plain_pgm(ink: Array, random: Random) -> bytes:
    most = int(random.choice([15, 100, 255]))
    data = _deep(ink, random, most)
    lines = "\n".join(" ".join(map(str, row)) for row in data.tolist())
    return f"P2\n{data.shape[1]} {data.shape[0]}\n{most}\n{lines}\n".encode()


LOSSLESS: dict[str, Callable[[Array, Random], bytes]] = {
    "grey PNG": _grey,
    "noisy grey PNG": lambda ink, r: png(noisy(255 - ink // 2, r, r.uniform(1, 25))),
    "specked PNG": lambda ink, r: png(_specked(ink, r)),
    "PNG, paper on a table": lambda ink, r: png(_on_a_table(ink, r)),
    "PNG of much noise": lambda ink, r: png(noisy(255 - ink, r, r.uniform(30, 60))),
    "RGB PNG": lambda ink, r: png(_coloured(ink, r)),
    "noisy RGB PNG": lambda ink, r: png(noisy(_coloured(ink, r), r, r.uniform(1, 15))),
    "palette PNG": lambda ink, r: saved(_palette(ink, r), "PNG"),
    "palette PNG with a transparent entry": lambda ink, r: saved(
        _palette(ink, r), "PNG", transparency=0
    ),
    "16-bit PNG": lambda ink, r: png(_deep(ink, r, 65535)),
    "12-bit PNG": lambda ink, r: png(_deep(ink, r, 4095)),
    "2-bit PNG": lambda ink, r: grey_png((255 - ink) >> 6, 2),
    "4-bit PNG": lambda ink, r: grey_png((255 - ink) >> 4, 4, interlaced=bool(r.random() < 0.5)),
    "interlaced PNG": lambda ink, r: grey_png(255 - ink, 8, interlaced=True),
    "1-bit PNG": lambda ink, r: saved(_bilevel(ink, r), "PNG"),
    "grey and alpha PNG": lambda ink, r: png(np.dstack([np.full_like(ink, 9), ink])),
    "RGBA PNG, a pen on nothing": lambda ink, r: png(_transparent(ink, r)),
    "RGBA PNG, cut out": lambda ink, r: png(_cut_out(ink, r)),
    "palette PNG, a pen on nothing": lambda ink, r: _one_colour_is_nothing(ink, "P"),
    "grey PNG with a transparent grey": lambda ink, r: _one_colour_is_nothing(ink, "L"),
    "RGB PNG with a transparent colour": lambda ink, r: _one_colour_is_nothing(ink, "RGB"),
    "large grey PNG": lambda ink, r: png(255 - _large(ink, r)),
    "large RGBA PNG": lambda ink, r: png(_transparent(_large(ink, r), r)),
    "PNG with an orientation": lambda ink, r: _turned(ink, r, "PNG"),
    "grey PNG, 28 by 28": lambda ink, r: png(
        np.asarray(Image.fromarray(255 - ink).resize((28, 28)))
    ),
    "light on dark PNG, 28 by 28": lambda ink, r: png(
        np.asarray(Image.fromarray(_coloured(ink, r)).resize((28, 28)))
    ),
    "PGM": lambda ink, r: saved(Image.fromarray(255 - ink), "PPM"),
    "16-bit PGM": _pgm16,
    "plain PGM": _plain_pgm,
    "PBM": lambda ink, r: saved(_bilevel(ink, r), "PPM"),
    "PPM": lambda ink, r: saved(Image.fromarray(_coloured(ink, r)), "PPM"),
    "BMP": lambda ink, r: saved(Image.fromarray(_coloured(ink, r)), "BMP"),
    "grey BMP": lambda ink, r: saved(Image.fromarray(255 - ink), "BMP"),
    "palette BMP": lambda ink, r: saved(_palette(ink, r), "BMP"),
    "1-bit BMP": lambda ink, r: saved(_bilevel(ink, r), "BMP"),
    "32-bit BMP": lambda ink, r: saved(Image.fromarray(_coloured(ink, r)).convert("RGBA"), "BMP"),
}
"""Kinds whose pixels every decoder gives alike."""

LOSSY: dict[str, Callable[[Array, Random], bytes]] = {
    "grey JPEG": lambda ink, r: saved(
        Image.fromarray(255 - ink), "JPEG", quality=int(r.integers(30, 96))
    ),
    "RGB JPEG": lambda ink, r: saved(
        Image.fromarray(_coloured(ink, r)),
        "JPEG",
        quality=int(r.integers(30, 96)),
        subsampling=int(r.integers(0, 3)),
        progressive=bool(r.random() < 0.3),
    ),
    "noisy RGB JPEG": lambda ink, r: saved(
        Image.fromarray(noisy(_coloured(ink, r), r, 8)), "JPEG", quality=80
    ),
    "CMYK JPEG": _cmyk,
    "JPEG with an orientation": lambda ink, r: _turned(ink, r, "JPEG"),
}
"""Kinds that another version of the decoder may give rounded otherwise."""


def made(
    kinds: dict[str, Callable[[Array, Random], bytes]], each: int
) -> Iterator[tuple[str, bytes]]:
    """``each`` pictures of each kind; every run makes the same ones."""
    for number, (kind, make) in enumerate(kinds.items()):
        for turn in range(each):
            random = np.random.default_rng((number, turn))
            yield f"{kind} {turn}", make(canvas(random, number * each + turn), random)
