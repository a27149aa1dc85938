"""The golden digits: drawn the same everywhere, framed like MNIST, and read back or refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from mnistkit.artifact import golden
from mnistkit.artifact.golden import Golden, golden_digits, read_golden, write_golden
from mnistkit.common.errors import ArtifactError, InputError
from strokes import DRAWINGS, Drawing, draw


@pytest.fixture
def good() -> Golden:
    """The golden digits with random logits."""
    fp32, int8 = np.random.default_rng(0).normal(size=(2, 20, 10)).astype(np.float32)
    return Golden(*golden_digits(), {"fp32": fp32, "int8": int8}, tuple("0123456789"))


def test_the_golden_digits_are_the_drawings() -> None:
    images, labels = golden_digits()
    assert images.shape == (20, 1, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert labels.tolist() == [drawing.digit for drawing in DRAWINGS]
    assert np.array_equal(images[:, 0], [draw(drawing) for drawing in DRAWINGS])


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


def test_npz_is_what_numpy_reads_and_has_no_time_in_it(tmp_path: Path, good: Golden) -> None:
    for name in ("a.npz", "b"):
        write_golden(tmp_path / name, good)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as held:
        assert sorted(held) == ["classes", "images", "labels", "logits_fp32", "logits_int8"]
        np.testing.assert_array_equal(held["logits_int8"], good.logits["int8"])


@pytest.mark.parametrize("precisions", [["fp32"], ["fp32", "int8"]])
@pytest.mark.parametrize("n", [1, 20])
def test_round_trip(tmp_path: Path, good: Golden, n: int, precisions: list[str]) -> None:
    given = Golden(
        good.images[:n], good.labels[:n], {p: good.logits[p][:n] for p in precisions}, good.classes
    )
    write_golden(tmp_path / "golden", given)
    back = read_golden(tmp_path / "golden")
    assert list(back.logits) == precisions
    assert back.classes == good.classes
    pairs: list[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]] = [
        (back.images, given.images),
        (back.labels, given.labels),
        *((back.logits[p], given.logits[p]) for p in precisions),
    ]
    for array, wanted in pairs:
        np.testing.assert_array_equal(array, wanted)
        assert array.dtype == wanted.dtype
        assert array.flags.writeable
        assert array.flags.c_contiguous
    assert [entry.name for entry in tmp_path.iterdir()] == ["golden"]


def test_correct_counts_the_labels_that_the_logits_give(good: Golden) -> None:
    logits = np.zeros((20, 10), np.float32)
    logits[np.arange(20), good.labels] = 1
    wrong = logits.copy()
    wrong[:3] = np.roll(wrong[:3], 1, axis=1)
    assert good._replace(logits={"fp32": logits, "int8": wrong}).correct() == {
        "fp32": 20,
        "int8": 17,
    }


def test_a_file_of_schema_1_is_read(tmp_path: Path, good: Golden) -> None:
    logits = good.logits["fp32"]
    np.savez(tmp_path / "old.npz", images=good.images, labels=good.labels, logits=logits)
    old = read_golden(tmp_path / "old.npz")
    assert old.classes == ()
    assert list(old.logits) == ["fp32"]
    np.testing.assert_array_equal(old.logits["fp32"], logits)


def test_arrays_that_do_not_fit_are_not_written(tmp_path: Path, good: Golden) -> None:
    images, labels, logits = good.images, good.labels, good.logits["fp32"]
    many = golden.MAX_DIGITS + 1
    for changed, fault in (
        (good._replace(images=images[:, 0]), r"images are uint8 \(20, 28, 28\)"),
        (good._replace(images=images.astype(np.float32)), "images are float32"),  # type: ignore[arg-type]
        (good._replace(labels=labels[:19]), r"labels are uint8 \(19,\)"),
        (good._replace(logits={"fp32": logits.astype(np.float64)}), "fp32 logits are float64"),
        (good._replace(logits={"fp32": logits, "int8": logits[:, :9]}), r"int8 .* \(20, 9\)"),
        (good._replace(logits={"int8": logits}), "logits of int8; wanted fp32"),
        (good._replace(logits={"fp32": logits, "int4": logits}), "logits of fp32, int4"),
        (good._replace(images=images[:0]), "0 golden digits"),
        (good._replace(images=np.zeros((many, 1, 28, 28), np.uint8)), f"{many} golden digits"),
        (good._replace(labels=labels + np.uint8(1)), "a label of 10"),
        (good._replace(classes=("a", "b")), "2 classes"),
        (good._replace(logits={"fp32": np.full_like(logits, np.nan)}), "not finite"),
    ):
        with pytest.raises(InputError, match=fault):
            write_golden(tmp_path / "golden", changed)
    assert list(tmp_path.iterdir()) == []


def test_every_cut_file_is_refused(tmp_path: Path, good: Golden) -> None:
    path = tmp_path / "golden"
    write_golden(path, good)
    whole = path.read_bytes()
    for length in (*range(0, 200, 7), len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError) as caught:
            read_golden(path)
        assert str(path) in str(caught.value)


def test_missing_and_oversized(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="absent: cannot be read"):
        read_golden(tmp_path / "absent")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_golden(tmp_path)
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    with pytest.raises(ArtifactError, match="more than"):
        read_golden(tmp_path / "large")


def test_faulty_npz_is_refused(tmp_path: Path, good: Golden) -> None:
    images, labels, logits = good.images, good.labels, good.logits["fp32"]
    names = np.array([name.encode() for name in good.classes])
    arrays = {"images": images, "labels": labels, "classes": names, "logits_fp32": logits}
    path = tmp_path / "golden.npz"

    def refused(fault: str, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=fault):
            read_golden(path)

    def packed(
        save: Callable[..., None] = np.savez, /, **changed: npt.NDArray[np.generic]
    ) -> bytes:
        stream = io.BytesIO()
        save(stream, **{**arrays, **changed})
        return stream.getvalue()

    without = io.BytesIO()
    np.savez(without, images=images, labels=labels)
    refused("not a whole npz file", b"PK\x03\x04 and so on")
    refused("holds images, labels; wanted", without.getvalue())
    refused("compressed", packed(np.savez_compressed))
    refused("images are float32", packed(images=images.astype(np.float32)))
    refused("fp32 logits are float32 .20, 9", packed(logits_fp32=logits[:, :9]))
    refused("labels are uint8 .19", packed(labels=labels[:19]))
    refused("a label of 10", packed(labels=labels + np.uint8(1)))
    refused("not finite", packed(logits_fp32=logits * np.float32(np.nan)))
    refused("not a whole npz file", packed(labels=labels.astype(object)))
    refused("classes are <U1; wanted names", packed(classes=np.array(list("0123456789"))))
    refused("classes are not UTF-8", packed(classes=np.array([b"\xff"] * 10)))

    # A header that promises more than the file holds, and one that no memory would hold.
    for count in (b"99", b"9" * 18):
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(packed())) as source, zipfile.ZipFile(stream, "w") as out:
            for name in source.namelist():
                out.writestr(name, source.read(name).replace(b"(20,), }", b"(%s,), }" % count))
        refused("not a whole npz file", stream.getvalue())

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
