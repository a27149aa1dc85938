"""Datasets: where they are searched, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mnistkit.common.errors import InputError, MissingError, UsageError
from mnistkit.data import files as datafiles
from mnistkit.data import sets as data
from mnistkit.data.idx import write_idx

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data root with a well-formed (but blank) MNIST test set in plain IDX files."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    write_idx(raw / IMAGES, np.zeros((10_000, 28, 28), np.uint8))
    write_idx(raw / LABELS, np.arange(10_000, dtype=np.uint8) % 10)
    return tmp_path


@pytest.fixture
def blank_is_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the blank files for MNIST's: what is inside is checked."""
    for file, what in ((IMAGES, "test images"), (LABELS, "test labels")):
        digest = hashlib.sha256((folder / "MNIST" / "raw" / file).read_bytes()).hexdigest()
        monkeypatch.setitem(datafiles._CONTENT, digest, what)


@pytest.mark.usefixtures("blank_is_mnist")
def test_plain_idx_files_load(folder: Path) -> None:
    digits = data.load("mnist", "test", folder, download=False)
    assert digits.images.shape == (10_000, 1, 28, 28)
    assert digits.images.dtype == torch.uint8
    assert digits.labels[:3].tolist() == [0, 1, 2]


@pytest.mark.usefixtures("blank_is_mnist")
def test_mnistkit_data_is_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNISTKIT_DATA", str(folder))
    assert len(data.load("mnist", "test", download=False)) == 10_000


def test_a_truncated_file_is_named(folder: Path) -> None:
    path = folder / "MNIST" / "raw" / IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=IMAGES):
        data.load("mnist", "test", folder, download=False)


def test_a_compressed_file_with_another_checksum_is_named(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    with gzip.open(raw / f"{IMAGES}.gz", "wb") as file:
        file.write((raw / IMAGES).read_bytes())
    (raw / IMAGES).unlink()
    with pytest.raises(InputError, match=rf"{IMAGES}\.gz: wrong checksum .* fetch it again"):
        data.load("mnist", "test", folder, download=False)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(10_000, 11, np.uint8), "label 11"),
        (np.zeros(9_999, np.uint8), "9999 labels for the 10000 images"),
        (np.zeros((10_000, 2), np.uint8), "wanted N labels"),
    ],
)
def test_mislabelled_files_are_refused(folder: Path, labels: np.ndarray, message: str) -> None:
    write_idx(folder / "MNIST" / "raw" / LABELS, labels)
    with pytest.raises(InputError, match=message):
        data.load("mnist", "test", folder, download=False)


def test_labels_in_the_place_of_images_are_refused(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    shutil.copy(raw / LABELS, raw / IMAGES)
    with pytest.raises(InputError, match=IMAGES):
        data.load("mnist", "test", folder, download=False)


def test_too_few_images_are_refused(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    write_idx(raw / IMAGES, np.zeros((5, 28, 28), np.uint8))
    write_idx(raw / LABELS, np.zeros(5, np.uint8))
    with pytest.raises(InputError, match="5 images, wanted 10000"):
        data.load("mnist", "test", folder, download=False)


def test_missing_data_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNISTKIT_DATA", raising=False)
    monkeypatch.setenv("MNISTKIT_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="--dataset digits"):
        data.load("mnist", "test", tmp_path, download=False)
    with pytest.raises(MissingError, match="does not exist"):
        data.load("mnist", "test", tmp_path / "nowhere", download=False)


def test_auto_falls_back_to_digits_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MNISTKIT_DATA", raising=False)
    monkeypatch.setenv("MNISTKIT_CACHE", str(tmp_path))
    with pytest.warns(data.DatasetWarning, match="not MNIST figures"):
        digits = data.load("auto", "test", download=False)
    assert digits.name == "digits"


def test_digits_are_framed_as_mnist_is(digits_test: data.ImageSet) -> None:
    images = digits_test.images
    assert images.shape[1:] == (1, 28, 28)
    assert images[:, :, :4].max() == 0
    assert images.max() == 255
    assert sorted(digits_test.labels.unique().tolist()) == list(range(10))


def test_the_hold_out_is_the_last_images_and_the_rest_are_the_others(
    digits_train: data.ImageSet,
) -> None:
    count = len(digits_train)
    numbered = data.ImageSet("n", digits_train.images, torch.arange(count))
    rest, held = numbered.hold_out(100)
    assert rest.labels.tolist() == list(range(count - 100))
    assert held.labels.tolist() == list(range(count - 100, count))
    with pytest.raises(UsageError, match="hold-out"):
        digits_train.hold_out(count)


def slants(digits: data.ImageSet) -> torch.Tensor:
    """How far each image leans, in standard deviations of its own digit."""
    images = digits.images.squeeze(1).float()
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (images * values).sum((1, 2)) / images.sum((1, 2))

    dx, dy = (axis - mean(axis)[:, None, None] for axis in (x, y))
    slant = mean(dx * dy) / mean(dy * dy)
    for digit in range(10):
        own = digits.labels == digit
        slant[own] = (slant[own] - slant[own].mean()) / slant[own].std()
    return slant


def test_mnist_stands_in_the_order_of_its_writers(mnist_test: data.ImageSet) -> None:
    """What a hold-out of the last images rests on: near images lean alike, in training too."""
    train = data.load("mnist", "train", download=False)
    slant = slants(train.subset(torch.arange(10_000)))
    near, far = (float((slant[:-lag] * slant[lag:]).mean()) for lag in (2, 500))
    assert near > 0.4
    assert near > far + 0.1


@pytest.mark.parametrize(("name", "split"), [("minst", "test"), ("mnist", "valid")])
def test_unknown_names_are_refused(name: str, split: str) -> None:
    with pytest.raises(UsageError):
        data.load(name, split)  # type: ignore[arg-type]


def test_mnist_is_whole(mnist_test: data.ImageSet) -> None:
    assert len(mnist_test) == 10_000
    assert mnist_test.labels[:5].tolist() == [7, 2, 1, 0, 4]
