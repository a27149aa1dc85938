"""The golden digits: drawn the same everywhere, framed like MNIST, and read back or refused."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from mnistkit import golden
from mnistkit.errors import ArtifactError, InputError
from mnistkit.golden import (
    golden_digits,
    read_golden_bin,
    read_golden_npz,
    write_golden_bin,
    write_golden_npz,
)
from mnistkit.strokes import DRAWINGS, Drawing, draw

IMAGES_SHA256 = "c80f20a143433708690aed80b56af4ee6e2d834ea78b96a128968e1b81b92f8c"

Logits = npt.NDArray[np.float32]


@pytest.fixture
def logits() -> Logits:
    return np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)


def test_the_pictures_are_these_bytes() -> None:
    images, labels = golden_digits()
    assert images.shape == (20, 1, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert hashlib.sha256(images.tobytes()).hexdigest() == IMAGES_SHA256


def test_the_arrays_are_the_callers_own() -> None:
    images, labels = golden_digits()
    images[:] = 0
    labels[:] = 0
    assert golden_digits()[0].any()
    assert golden_digits()[1].any()


@pytest.mark.parametrize("index", range(20))
def test_framed_like_mnist(index: int) -> None:
    image = golden_digits()[0][index, 0].astype(np.int64)
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert image[[0, -1]].max() == image[:, [0, -1]].max() == 0
    places = np.arange(28)
    for axis in (0, 1):
        centre = (image.sum(axis=axis) * places).sum() / image.sum()
        assert 13.5 <= centre <= 14.5
    assert image.max() == 255
    assert 10 < image.mean() < 50


def test_the_two_hands_of_a_digit_differ() -> None:
    images = golden_digits()[0].astype(np.int64)
    for first, second in zip(images[::2], images[1::2], strict=True):
        assert np.abs(first - second).mean() > 5


def test_a_straight_line_is_as_wide_as_its_pen() -> None:
    image = draw(Drawing(1, 32, ("0,0 0,50 0,100",))).astype(np.int64)
    middle = image[10]
    # A pen 2 pixels wide, seen through a filter of 1.5, makes the two middle pixels full and
    # leaves an eighth of a pixel's ink on each side of them.
    beside = middle[(middle > 0) & (middle < 255)]
    assert (middle == 255).sum() == 2
    assert beside.tolist() == [beside[0]] * 2
    assert 0 < beside[0] < 64
    assert (np.diff(np.flatnonzero(middle)) == 1).all()


def test_drawing_has_no_favoured_direction() -> None:
    one = Drawing(7, 36, ("10,20 50,10 90,15", "90,15 60,60 40,100"))
    turned = Drawing(7, 36, ("20,10 10,50 15,90", "15,90 60,60 100,40"))
    np.testing.assert_array_equal(draw(one).T, draw(turned))


def test_a_large_drawing_is_the_same_drawing() -> None:
    for drawing in DRAWINGS[::3]:
        large = draw(drawing, scale=6).reshape(28, 6, 28, 6).mean(axis=(1, 3))
        assert np.corrcoef(large.ravel(), draw(drawing).ravel())[0, 1] > 0.98


@pytest.mark.parametrize("scale", [0, -1, 17])
def test_scale_is_bounded(scale: int) -> None:
    with pytest.raises(ValueError, match="wanted 1 to 16"):
        draw(DRAWINGS[0], scale)


def test_bin_layout(tmp_path: Path, logits: Logits) -> None:
    images, labels = golden_digits()
    write_golden_bin(tmp_path / "golden.bin", images, labels, logits)
    content = (tmp_path / "golden.bin").read_bytes()
    assert content[:16] == b"MNKGOLD1" + struct.pack("<II", 20, 0)
    assert struct.unpack_from("<10f", content, 16 + 40) == tuple(logits[1].tolist())
    assert content[16 + 800 :] == images.tobytes() + labels.tobytes()


def test_npz_is_what_numpy_reads_and_has_no_time_in_it(tmp_path: Path, logits: Logits) -> None:
    images, labels = golden_digits()
    for name in ("a.npz", "b"):
        write_golden_npz(tmp_path / name, images, labels, logits)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as held:
        assert sorted(held) == ["images", "labels", "logits"]
        np.testing.assert_array_equal(held["logits"], logits)


FORMS = pytest.mark.parametrize(
    ("write", "read"),
    [(write_golden_bin, read_golden_bin), (write_golden_npz, read_golden_npz)],
    ids=["bin", "npz"],
)
Write = Callable[..., None]
Read = Callable[[Path], golden.Golden]


@FORMS
@pytest.mark.parametrize("n", [1, 20])
def test_round_trip(tmp_path: Path, logits: Logits, write: Write, read: Read, n: int) -> None:
    images, labels = golden_digits()
    path = tmp_path / "golden"
    write(path, images[:n], labels[:n], logits[:n])
    back = read(path)
    pairs: list[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]] = [
        (back.images, images[:n]),
        (back.labels, labels[:n]),
        (back.logits, logits[:n]),
    ]
    for array, given in pairs:
        np.testing.assert_array_equal(array, given)
        assert array.dtype == given.dtype
        assert array.flags.writeable
        assert array.flags.c_contiguous
    assert [entry.name for entry in tmp_path.iterdir()] == ["golden"]


@pytest.mark.parametrize("write", [write_golden_bin, write_golden_npz])
def test_arrays_that_do_not_fit_are_not_written(
    tmp_path: Path, logits: Logits, write: Write
) -> None:
    images, labels = golden_digits()
    many = golden.MAX_DIGITS + 1
    for arrays, fault in (
        ((images[:, 0], labels, logits), r"images are uint8 \(20, 28, 28\)"),
        ((images.astype(np.float32), labels, logits), "images are float32"),
        ((images, labels[:19], logits), r"labels are uint8 \(19,\)"),
        ((images, labels, logits.astype(np.float64)), "logits are float64"),
        ((images, labels, logits[:, :9]), r"logits are float32 \(20, 9\)"),
        ((images[:0], labels[:0], logits[:0]), "0 golden digits"),
        ((np.zeros((many, 1, 28, 28), np.uint8), labels, logits), f"{many} golden digits"),
        ((images, labels + np.uint8(1), logits), "a label of 10"),
        ((images, labels, np.full_like(logits, np.nan)), "not finite"),
    ):
        with pytest.raises(InputError, match=fault):
            write(tmp_path / "golden", *arrays)
    assert list(tmp_path.iterdir()) == []


@FORMS
def test_every_cut_file_is_refused(
    tmp_path: Path, logits: Logits, write: Write, read: Read
) -> None:
    path = tmp_path / "golden"
    write(path, *golden_digits(), logits)
    whole = path.read_bytes()
    for length in (*range(0, 200, 7), len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("read", [read_golden_bin, read_golden_npz])
def test_missing_and_oversized(tmp_path: Path, read: Read) -> None:
    with pytest.raises(ArtifactError, match="absent: cannot be read"):
        read(tmp_path / "absent")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    with pytest.raises(ArtifactError, match="more than"):
        read(tmp_path / "large")


def test_faulty_bin_is_refused(tmp_path: Path, logits: Logits) -> None:
    path = tmp_path / "golden.bin"
    write_golden_bin(path, *golden_digits(), logits)
    whole = path.read_bytes()
    for at, change, fault in (
        (0, b"MNKGOLD2", "starts with b'MNKGOLD2'"),
        (8, struct.pack("<I", 0), "0 digits"),
        (8, struct.pack("<I", 2**32 - 1), "4294967295 digits"),
        (8, struct.pack("<I", 19), "19 digits want"),
        (12, b"\x01", "bytes 12 to 15 hold 1"),
        (16, struct.pack("<f", np.inf), "not finite"),
        (len(whole) - 1, b"\x0a", "a label of 10"),
        (len(whole), b"\x00", f"{len(whole) + 1} bytes"),
    ):
        path.write_bytes(whole[:at] + change + whole[at + len(change) :])
        with pytest.raises(ArtifactError, match=fault):
            read_golden_bin(path)


def test_faulty_npz_is_refused(tmp_path: Path, logits: Logits) -> None:
    images, labels = golden_digits()
    good = {"images": images, "labels": labels, "logits": logits}
    path = tmp_path / "golden.npz"

    def refused(fault: str, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=fault):
            read_golden_npz(path)

    def packed(
        save: Callable[..., None] = np.savez, /, **changed: npt.NDArray[np.generic]
    ) -> bytes:
        stream = io.BytesIO()
        save(stream, **{**good, **changed})
        return stream.getvalue()

    refused("not a whole npz file", b"PK\x03\x04 and so on")
    refused("holds .*extra", packed(extra=labels))
    refused("compressed", packed(np.savez_compressed))
    refused("images are '<f4'", packed(images=images.astype(np.float32)))
    refused("images are .*column order True", packed(images=np.asfortranarray(images)))
    refused("logits are '<f4' .20, 9", packed(logits=logits[:, :9]))
    refused("19 labels, 20 rows", packed(labels=labels[:19]))
    refused("a label of 10", packed(labels=labels + np.uint8(1)))
    refused("not finite", packed(logits=logits * np.float32(np.nan)))
    refused("labels are '|O'|no npy header", packed(labels=labels.astype(object)))

    # A header that promises more than the file holds.
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed())) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            member = source.read(name)
            target.writestr(name, member.replace(b"(20,), }", b"(99,), }"))
    refused("labels hold 20 elements; shape .99,. wants 99", stream.getvalue())

    # A byte of data altered in the file: zip's checksum tells.
    content = bytearray(packed())
    content[content.index(images.tobytes()) + 400] ^= 1
    refused("not a whole npz file", bytes(content))


def test_strokes_are_well_formed() -> None:
    for drawing in DRAWINGS:
        assert 2.0 <= drawing.pen / 16 <= 2.5
        for stroke in drawing.strokes:
            points = stroke.split()
            assert len(points) >= 3
            assert all(one != other for one, other in pairwise(points))
