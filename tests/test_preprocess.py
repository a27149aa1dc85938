"""Any picture of a digit becomes the image that MNIST would have made of it.

The golden digits stand in for handwriting: drawn large, they are put on paper, in bad light, on
blackboards and in files, and must come back looking like their 28 by 28 originals.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from mnistkit.artifact.golden import golden_digits
from mnistkit.common.errors import InputError
from mnistkit.data.idx import write_idx
from mnistkit.pictures import preprocess
from mnistkit.pictures.preprocess import read_images, to_mnist
from PIL import Image
from strokes import DRAWINGS, Drawing, draw

Array = npt.NDArray[np.uint8]
Picture = Image.Image | Array

HANDS = range(0, 20, 3)  # a hand of seven digits: enough to see a fault, and quick
LARGE = {index: draw(DRAWINGS[index], scale=6) for index in HANDS}


def _likeness(image: Array, index: int) -> float:
    """Correlate with a golden digit; a centre of mass between two pixels may go to either."""
    golden = golden_digits()[0][index, 0].ravel()
    shifted = (np.roll(image[0], (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
    return max(float(np.corrcoef(each.ravel(), golden)[0, 1]) for each in shifted)


def _on_canvas(ink: Array, height: int, width: int, top: int, left: int) -> Array:
    canvas = np.zeros((height, width), np.uint8)
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return canvas


def _cropped(ink: Array) -> Array:
    rows, columns = (np.flatnonzero((ink > 127).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _photo(
    ink: Array, chalk: bool = False, noise: float = 12, darkest: float = 0.4, lamp: float = 0.2
) -> Array:
    """Light from one side and from a lamp, coloured paper, noise in each channel."""
    down, across = np.meshgrid(*(np.linspace(0, 1, size) for size in ink.shape), indexing="ij")
    light = darkest + (1 - darkest) * (0.6 * across + 0.4 * down)
    light -= lamp * ((across - 0.5) ** 2 + (down - 0.5) ** 2)
    share = ink / 255
    reflected = 0.15 + 0.75 * share if chalk else 1 - 0.8 * share
    planes = (light * reflected)[..., np.newaxis] * np.array([235, 228, 210])
    planes += np.random.default_rng(1).normal(0, noise, planes.shape)
    taken: Array = np.clip(planes, 0, 255).astype(np.uint8)
    return taken


def _coloured(ink: Array, pen: tuple[int, ...], paper: tuple[int, ...]) -> Array:
    share = ink[..., np.newaxis] / 255
    mixed: Array = np.rint(np.array(pen) * share + np.array(paper) * (1 - share)).astype(np.uint8)
    return mixed


def _transparent(ink: Array, pen: int) -> Array:
    return np.dstack([np.full((*ink.shape, 3), pen, np.uint8), ink])


def _jpeg(picture: Array, quality: int = 40) -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def _cut_out(ink: Array) -> Array:
    """A round piece of paper, transparent around it."""
    down, across = np.indices(ink.shape) - ink.shape[0] // 2
    paper = np.hypot(down, across) < ink.shape[0] // 2
    return np.dstack([255 - ink] * 3 + [255 * paper.astype(np.uint8)])


def _specked(picture: Array) -> Array:
    picture = picture.copy()
    for y, x in np.random.default_rng(2).integers(0, picture.shape[0] - 2, (30, 2)):
        picture[y : y + 2, x : x + 2] = 0
    return picture


def _with_edge(picture: Array) -> Array:
    """The table, seen along one side."""
    picture = picture.copy()
    picture[:, :25] = 40
    return picture


PICTURES: dict[str, Callable[[Array], Picture]] = {
    "light on dark": lambda ink: ink,
    "dark on light": lambda ink: 255 - ink,
    "off centre": lambda ink: 255 - _on_canvas(ink, 400, 600, 210, 20),
    "small on a large canvas": lambda ink: 255 - _on_canvas(ink[::2, ::2], 700, 900, 60, 700),
    "cropped to the ink": lambda ink: 255 - _cropped(ink),
    "larger than the working size": lambda ink: np.pad(ink.repeat(8, 0).repeat(8, 1), 400),
    "thick empty border": lambda ink: np.pad(255 - ink, 200, constant_values=255),
    "thick black frame": lambda ink: np.pad(255 - ink, 30, constant_values=0),
    "thick white frame, light on dark": lambda ink: np.pad(ink, 30, constant_values=255),
    "paper on a table": lambda ink: np.pad(
        _photo(ink, noise=4, darkest=0.7), ((60, 60), (60, 60), (0, 0)), constant_values=60
    ),
    "edge of the table": lambda ink: _with_edge(255 - _on_canvas(ink, 300, 400, 80, 150)),
    "transparent, black pen": lambda ink: _transparent(ink, 0),
    "transparent, white pen": lambda ink: _transparent(ink, 255),
    "transparent around the paper": _cut_out,
    "jpeg": lambda ink: _jpeg(255 - ink),
    "photo": lambda ink: _photo(_on_canvas(ink, 300, 400, 90, 120)),
    "photo, noisy": lambda ink: _photo(_on_canvas(ink, 300, 400, 90, 120), noise=50),
    "photo, half in the dark": lambda ink: _photo(np.pad(ink, 5), noise=6, darkest=0.05),
    "photo, under a lamp": lambda ink: _photo(np.pad(ink, 40), darkest=1, lamp=1.5),
    "photo, jpeg": lambda ink: _jpeg(_photo(_on_canvas(ink, 300, 400, 90, 120))),
    "photo, pencil": lambda ink: _photo(_on_canvas(ink // 3, 300, 400, 90, 120), noise=6),
    "blackboard": lambda ink: _photo(_on_canvas(ink, 300, 400, 90, 120), chalk=True),
    "specks": lambda ink: _specked(255 - ink),
    "red on green": lambda ink: _coloured(ink, (190, 60, 60), (60, 115, 70)),
    "yellow on white": lambda ink: _coloured(ink, (240, 230, 80), (255, 255, 255)),
    "two levels": lambda ink: Image.fromarray(255 - ink).convert("1", dither=Image.Dither.NONE),
    "palette": lambda ink: Image.fromarray(_coloured(ink, (9, 9, 90), (250, 250, 240))).quantize(),
    "16 bits": lambda ink: Image.fromarray(65535 - ink.astype(np.uint16) * 150),
    "CMYK": lambda ink: Image.fromarray(255 - ink).convert("CMYK"),
    "floats": lambda ink: Image.fromarray((255 - ink).astype(np.float32)),
    "premultiplied grey": lambda ink: Image.fromarray(255 - ink).convert("LA").convert("La"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_looks_like_the_golden_digit(kind: str) -> None:
    for index, ink in LARGE.items():
        image = to_mnist(PICTURES[kind](ink))
        assert image.shape == (1, 28, 28)
        assert image.dtype == np.uint8
        assert image.max() == 255
        assert _likeness(image, index) > 0.92, f"golden digit {index}"


@pytest.mark.parametrize("kind", ["dark on light", "photo, noisy", "blackboard"])
def test_framed_like_mnist(kind: str) -> None:
    for ink in LARGE.values():
        image = to_mnist(PICTURES[kind](ink))[0].astype(np.int64)
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        for axis in (0, 1):
            centre = (image.sum(axis=axis) * np.arange(28)).sum() / image.sum()
            assert 13.4 < centre < 14.6


def test_golden_digits_pass_unchanged() -> None:
    for image in golden_digits()[0]:
        for form in (image, image[0], image[0][..., np.newaxis], Image.fromarray(image[0])):
            np.testing.assert_array_equal(to_mnist(form), image)


def test_dark_on_light_at_28_pixels_is_framed_anew() -> None:
    for index, image in enumerate(golden_digits()[0]):
        assert _likeness(to_mnist(255 - image), index) > 0.98


@pytest.mark.parametrize("pen", [3, 6, 12])
def test_a_thin_pen_is_made_as_thick_as_mnists(pen: int) -> None:
    for index in HANDS:
        drawing = DRAWINGS[index]
        thin = draw(Drawing(drawing.digit, pen, drawing.strokes), scale=12)
        image = to_mnist(255 - thin)
        assert _likeness(image, index) > 0.85, f"golden digit {index}"
        assert image.mean() > 0.7 * golden_digits()[0][index].mean()


def test_the_aspect_is_kept() -> None:
    for index, ink in LARGE.items():
        tall, wide = to_mnist(ink)[0], to_mnist(np.ascontiguousarray(ink.T))[0]
        assert np.corrcoef(tall.ravel(), wide.T.ravel())[0, 1] > 0.98, f"golden digit {index}"


@pytest.mark.parametrize(
    "picture",
    [
        np.full((60, 80), 255, np.uint8),
        np.zeros((28, 28), np.uint8),
        np.full((50, 50, 4), 0, np.uint8),
        _photo(np.zeros((200, 200), np.uint8), noise=40),
        np.arange(200, dtype=np.uint8)[np.newaxis].repeat(90, 0),
        np.random.default_rng(0).normal(128, 60, (60, 60)).clip(0, 255).astype(np.uint8),
    ],
    ids=["white", "black 28", "transparent", "noise in uneven light", "gradient", "noise"],
)
def test_blank_is_refused(picture: Array) -> None:
    with pytest.raises(InputError, match=r"the picture is blank.*wanted one handwritten digit"):
        to_mnist(picture)


@pytest.mark.parametrize(
    ("picture", "fault"),
    [
        (np.zeros((30, 30), np.float32), r"float32 \(30, 30\); wanted uint8"),
        (np.zeros((30, 30, 2), np.uint8), r"\(30, 30, 2\); wanted uint8"),
        (np.zeros((2, 28, 28), np.uint8), r"\(2, 28, 28\); wanted uint8"),
        (np.zeros(784, np.uint8), r"\(784,\); wanted uint8"),
        (np.zeros((0, 30), np.uint8), "it is empty"),
        (np.zeros((3, 30), np.uint8), "30 by 3 pixels; wanted at least 4 by 4"),
    ],
)
def test_other_arrays_are_refused(picture: Array, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        to_mnist(picture)


@pytest.mark.parametrize("name", ["digit.png", "digit.jpg", "digit.bmp", "digit"])
def test_picture_files(tmp_path: Path, name: str) -> None:
    form = {"": "PNG", ".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP"}[Path(name).suffix]
    for index, ink in LARGE.items():
        Image.fromarray(255 - ink).save(tmp_path / name, form)
        images = read_images(tmp_path / name)
        assert images.shape == (1, 1, 28, 28)
        assert _likeness(images[0], index) > 0.92


def test_a_photo_held_sideways_is_turned(tmp_path: Path) -> None:
    upright = Image.fromarray(_photo(_on_canvas(LARGE[6], 300, 400, 90, 120)))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn clockwise by a quarter to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif)
    assert _likeness(read_images(tmp_path / "phone.jpg")[0], 6) > 0.92


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_idx_images_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    images = golden_digits()[0]
    images[3] = 0
    write_idx(tmp_path / name, images[:, 0])
    np.testing.assert_array_equal(read_images(tmp_path / name), images)


def test_faulty_files_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = golden_digits()
    png, jpeg = io.BytesIO(), io.BytesIO()
    Image.fromarray(255 - LARGE[0]).save(png, "PNG")
    Image.fromarray(255 - LARGE[0]).save(jpeg, "JPEG")
    path = tmp_path / "faulty"

    def refused(fault: str, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(InputError, match=fault) as caught:
            read_images(path)
        assert str(caught.value).startswith(f"{path}: ")

    def idx(array: Array) -> bytes:
        write_idx(tmp_path / "written", array)
        return (tmp_path / "written").read_bytes()

    refused("an empty file; wanted PNG", b"")
    refused("damaged or cut short", b"GIF89a and so on")
    refused("not a picture in a known format; wanted PNG", b"a note, no picture")
    refused("damaged or cut short", png.getvalue()[:200])
    refused("damaged or cut short", jpeg.getvalue()[:1000])
    refused("truncated", idx(images[:, 0])[:-1])
    refused(r"labels of shape \(20,\); wanted images", idx(labels))
    refused(r"labels of shape \(20,\); wanted images", gzip.compress(idx(labels)))
    refused(r"an array of shape \(20, 14, 28\); wanted images", idx(images[:, 0, ::2]))
    refused("starts with bytes", gzip.compress(png.getvalue()))
    monkeypatch.setattr(preprocess, "MAX_PIXELS", 100)
    refused("168 by 168 pixels; wanted at most 100", png.getvalue())
    with pytest.raises(InputError, match="168 by 168 pixels; wanted at most 100"):
        to_mnist(LARGE[0])


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(InputError, match=r"cannot be read .*check the path") as caught:
            read_images(path)
        assert str(path) in str(caught.value)


def test_blank_picture_file_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), "white").save(tmp_path / "blank.png")
    with pytest.raises(InputError, match=r"blank\.png: the picture is blank"):
        read_images(tmp_path / "blank.png")
