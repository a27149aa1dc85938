"""Data folders as people have them: other names, other places, other wrapping, or empty."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mnistkit.common.errors import InputError, MissingError, UsageError
from mnistkit.data import files as datafiles
from mnistkit.data import sets as data

FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()
    )


IMAGES = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), np.uint8)
LABELS = (np.arange(10_000) % 10).astype(np.uint8)
CONTENT = dict(zip(FILES, (idx(IMAGES), idx(LABELS)), strict=True))


@pytest.fixture(autouse=True)
def _nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data in the environment or the cache; what is put into folders here is taken for MNIST."""
    monkeypatch.delenv("MNISTKIT_DATA", raising=False)
    monkeypatch.setenv("MNISTKIT_CACHE", str(tmp_path / "cache"))
    for what, content in zip(("test images", "test labels"), CONTENT.values(), strict=True):
        monkeypatch.setitem(datafiles._CONTENT, hashlib.sha256(content).hexdigest(), what)


def put(
    folder: Path, name: Callable[[str], str] = str, wrap: Callable[[bytes], bytes] = bytes
) -> None:
    for file, content in CONTENT.items():
        path = folder / name(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wrap(content))


def squeezed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1, mtime=1)


def two_members(content: bytes) -> bytes:
    return squeezed(content[:5000]) + squeezed(content[5000:])


@pytest.mark.parametrize("below", ["MNIST/raw", "MNIST", "raw", "."])
@pytest.mark.parametrize("name", [str, lambda file: file.replace("-idx", ".idx")], ids=["-", "dot"])
@pytest.mark.parametrize(
    ("end", "wrap"),
    [("", bytes), (".gz", squeezed), (".gz", two_members)],
    ids=["plain", "gz", "2gz"],
)
def test_mnist_is_found(
    tmp_path: Path,
    below: str,
    name: Callable[[str], str],
    end: str,
    wrap: Callable[[bytes], bytes],
) -> None:
    root = tmp_path / "d"
    put(root / below, lambda file: name(file) + end, wrap)
    digits = data.load("mnist", "test", root)
    assert np.array_equal(digits.images[:, 0].numpy(), IMAGES)
    assert np.array_equal(digits.labels.numpy(), LABELS)


@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST"])
def test_the_inner_folder_itself_may_be_named(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "d" / place)
    assert len(data.load("mnist", "test", tmp_path / "d" / place)) == 10_000
    monkeypatch.setenv("MNISTKIT_DATA", str(tmp_path / "d" / place))
    assert len(data.load("mnist", "test", download=False)) == 10_000


def test_an_archive_that_makes_a_folder_for_each_file(tmp_path: Path) -> None:
    put(tmp_path / "d", lambda file: f"{file}/{file}")
    assert len(data.load("mnist", "test", tmp_path / "d")) == 10_000


def test_altered_content_is_refused_however_it_is_wrapped(tmp_path: Path) -> None:
    altered = bytearray(CONTENT[FILES[0]])
    altered[-1] ^= 1
    for end, wrap in (("", bytes), (".gz", squeezed)):
        root = tmp_path / f"d{end}"
        put(root, lambda file, end=end: file + end, wrap)  # type: ignore[misc]
        (root / f"{FILES[0]}{end}").write_bytes(wrap(bytes(altered)))
        with pytest.raises(InputError, match="wrong checksum"):
            data.load("mnist", "test", root)


@pytest.mark.parametrize("name", ["mnist", "fashion", "kmnist", "qmnist", "emnist-digits", "usps"])
def test_a_folder_that_was_named_is_final(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken from elsewhere, and nothing is fetched; the message lists the search."""
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "mine"
    put(elsewhere / "MNIST" / "raw")
    monkeypatch.setenv("MNISTKIT_DATA", str(elsewhere))
    monkeypatch.setattr(data, "_download", lambda *_: pytest.fail("it was to be fetched"))
    (root / "seven").mkdir(parents=True)
    for split in ("train", "test"):
        with pytest.raises(MissingError) as caught:
            data.load(name, split, root)  # type: ignore[arg-type]
        said = str(caught.value)
        assert str(elsewhere) not in said
        layout = datafiles.LAYOUTS[name]
        for file in layout.files(split):  # type: ignore[arg-type]
            assert file in said
        for folder in (root / layout.folder / "raw", root / layout.folder, root):
            assert str(folder) in said
        assert f"{root} holds seven/" in said


def test_auto_and_digits_do_not_go_elsewhere_either(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="'mnist'"):
        data.load("auto", "train", tmp_path)
    with pytest.raises(UsageError, match="'digits' comes with scikit-learn"):
        data.load("digits", "train", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(MissingError, match="is not a folder"):
        data.load("mnist", "train", tmp_path / "file")


def test_mnist_is_not_taken_for_a_dataset_with_the_same_names(tmp_path: Path) -> None:
    put(tmp_path / "MNIST" / "raw")
    with pytest.raises(MissingError, match="'fashion'"):
        data.load("fashion", "test", tmp_path / "MNIST" / "raw")
    put(tmp_path / "flat")
    with pytest.raises(InputError, match="holds MNIST's test images, wanted fashion's"):
        data.load("fashion", "test", tmp_path / "flat")


def test_fashion_compressed_again_is_read_with_a_warning(tmp_path: Path) -> None:
    """Its content has no checksum here; MNIST's has, so that it cannot be that."""
    content = {FILES[0]: idx(255 - IMAGES), FILES[1]: idx(LABELS[::-1].copy())}
    for file, inside in content.items():
        (tmp_path / file).write_bytes(inside)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(data.load("fashion", "test", tmp_path)) == 10_000
    for file, inside in content.items():
        (tmp_path / file).unlink()
        (tmp_path / f"{file}.gz").write_bytes(squeezed(inside))
    with pytest.warns(UserWarning, match="compressed again, or altered"):
        assert len(data.load("fashion", "test", tmp_path)) == 10_000


@pytest.mark.parametrize("place", ["QMNIST/raw", "."])
@pytest.mark.parametrize(("end", "wrap"), [("", bytes), (".gz", squeezed)])
def test_qmnist(tmp_path: Path, place: str, end: str, wrap: Callable[[bytes], bytes]) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    count = 10_003
    images = np.resize(IMAGES, (count, 28, 28))
    rows = np.zeros((count, 8), ">i4")
    rows[:, 0], rows[:, 2] = np.arange(count) % 10, 70_000
    (folder / f"qmnist-test-images-idx3-ubyte{end}").write_bytes(wrap(idx(images)))
    (folder / f"qmnist-test-labels.idx2-int{end}").write_bytes(wrap(idx(rows, 0x0C)))
    digits = data.load("qmnist", "test", tmp_path)
    assert np.array_equal(digits.labels.numpy(), np.arange(10_000) % 10)


def test_emnist_digits_are_turned(tmp_path: Path) -> None:
    folder = tmp_path / "gzip"
    folder.mkdir()
    images = np.zeros((40_000, 28, 28), np.uint8)
    images[:, 3, 20] = 255
    labels = (np.arange(40_000) % 10).astype(np.uint8)
    (folder / "emnist-digits-test-images-idx3-ubyte.gz").write_bytes(squeezed(idx(images)))
    (folder / "emnist-digits-test-labels-idx1-ubyte.gz").write_bytes(squeezed(idx(labels)))
    digits = data.load("emnist-digits", "test", tmp_path)
    assert int(digits.images[7, 0, 20, 3]) == 255
    assert digits.labels[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("name", "wrap"), [("usps.t", bytes), ("USPS/usps.t.bz2", bz2.compress)])
def test_usps(tmp_path: Path, name: str, wrap: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    text = "\n".join(
        f"{digit + 1} " + " ".join(f"{i}:{1 if i == digit + 1 else -1}" for i in range(1, 257))
        for digit in range(10)
    )
    path.write_bytes(wrap(text.encode()))
    digits = data.load("usps", "test", tmp_path)
    assert digits.images.shape == (10, 1, 28, 28)
    assert digits.labels.tolist() == list(range(10))
    assert int(digits.images[0].amax()) > 100
    path.write_bytes(wrap(b"11 1:0"))
    with pytest.raises(InputError, match=r"usps\.t"):
        data.load("usps", "test", tmp_path)


def test_the_real_mnist_flat_and_compressed_again(
    tmp_path: Path, mnist_test: data.ImageSet
) -> None:
    for file, part in zip(FILES, (mnist_test.images[:, 0], mnist_test.labels), strict=True):
        path = tmp_path / f"{file.replace('-idx', '.idx')}.gz"
        path.write_bytes(squeezed(idx(part.numpy().astype(np.uint8))))
    assert data.load("mnist", "test", tmp_path).labels[:3].tolist() == [7, 2, 1]
