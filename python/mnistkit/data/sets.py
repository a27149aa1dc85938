"""Datasets as one uint8 tensor each, found on disk or downloaded through torchvision."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnistkit.common.errors import InputError, MissingError, UsageError
from mnistkit.common.paths import cache_dir
from mnistkit.data import files as datafiles
from mnistkit.data.files import Split
from mnistkit.data.idx import read_idx, read_idx_int32

DATASETS = ("mnist", "qmnist", "emnist-digits", "usps", "fashion", "kmnist", "digits")
_SAME_NAMES = ("mnist", "fashion", "kmnist")  # their files are called the same
_COUNTS = {"train": 60_000, "test": 10_000}
_EMNIST_COUNTS = {"train": 240_000, "test": 40_000}
_DIGITS_TEST = 497  # of scikit-learn's 1,797 scans; the other 1,300 train


@dataclass(frozen=True)
class ImageSet:
    """Labelled images on the CPU: uint8 ``(N, 1, 28, 28)`` and int64 labels ``(N,)``.

    >>> import mnistkit, torch
    >>> images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    >>> len(mnistkit.ImageSet("blank", images, torch.tensor([0, 1, 2])))
    3
    """

    name: str
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def subset(self, index: Tensor) -> ImageSet:
        """The images at these positions."""
        return ImageSet(self.name, self.images[index], self.labels[index])

    def hold_out(self, count: int) -> tuple[ImageSet, ImageSet]:
        """Split into ``(the rest, the last count images)``, for model selection.

        MNIST's training images stand in the order of their writers, so the last ones are by
        other hands than the rest, as the test set is; a random draw would not be.
        """
        if not 0 < count < len(self):
            raise UsageError(f"hold-out must be between 1 and {len(self) - 1}, got {count}")
        order = torch.arange(len(self))
        return self.subset(order[:-count]), self.subset(order[-count:])


class DatasetWarning(UserWarning):
    """A dataset other than the one hoped for is in use."""


def load(
    name: str, split: Split, data_dir: Path | None = None, *, download: bool = True
) -> ImageSet:
    """Load one split of a dataset.

    Where ``data_dir`` is given the data is there or the call fails. Else ``$MNISTKIT_DATA`` and the
    user's cache folder are searched, and then torchvision downloads into the cache. ``auto`` is
    MNIST where it can be had, otherwise scikit-learn's ``digits`` with a :class:`DatasetWarning`
    (not with a ``data_dir``). Raises :class:`UsageError` for an unknown name and for ``digits``
    with a ``data_dir``, :class:`InputError` for a damaged file and :class:`MissingError` where
    nothing is found.
    """
    if split not in ("train", "test"):
        raise UsageError(f"split must be 'train' or 'test', got {split!r}")
    name = resolve(name, data_dir, download=download)
    if name == "digits":
        if data_dir is not None:
            raise UsageError(
                f"dataset 'digits' comes with scikit-learn and is not read from {data_dir}; leave "
                "out --data-dir, or name a dataset that is there with --dataset"
            )
        return _load_digits(split)
    return _load_files(name, split, data_dir, download)


def search_path(data_dir: Path | None = None) -> list[Path]:
    """The folders that are searched, in order; ``data_dir`` alone where it is given."""
    if data_dir is not None:
        if not data_dir.is_dir():
            fault = "is not a folder" if data_dir.exists() else "does not exist"
            raise MissingError(f"data folder {data_dir} {fault}; name one that does")
        return [data_dir]
    named = os.environ.get("MNISTKIT_DATA")
    return [*([Path(named)] if named else []), cache_dir() / "data"]


def resolve(name: str, data_dir: Path | None = None, *, download: bool = True) -> str:
    """Return what ``name`` stands for: ``auto`` is MNIST where it can be had, else ``digits``."""
    if name in DATASETS:
        return name
    if name != "auto":
        raise UsageError(f"unknown dataset {name!r}; known: auto, {', '.join(DATASETS)}")
    try:
        _load_files("mnist", "test", data_dir, download)
    except MissingError as error:
        if data_dir is not None:
            raise
        warnings.warn(
            "MNIST is not here and could not be downloaded: using scikit-learn's 'digits' "
            "(1,797 real scans of 8x8 pixels) INSTEAD. Figures below are not MNIST figures. "
            f"({error})",
            DatasetWarning,
            stacklevel=3,
        )
        return "digits"
    return "mnist"


def _load_digits(split: Split) -> ImageSet:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(np.ascontiguousarray(bunch.images, np.float32))[:, None] / 16
    # Enlarged to 20x20 and framed in 28x28, as MNIST's digits are.
    large = torch.nn.functional.interpolate(small, 20, mode="bilinear", align_corners=False)
    images = torch.nn.functional.pad(large, (4, 4, 4, 4)).mul(255).round().to(torch.uint8)
    labels = torch.from_numpy(np.ascontiguousarray(bunch.target, np.int64))
    # The last scans are by other writers than the first: the split is by writer.
    cut = len(labels) - _DIGITS_TEST
    part = slice(cut, None) if split == "test" else slice(0, cut)
    return ImageSet("digits", images[part].contiguous(), labels[part].contiguous())


def _load_files(name: str, split: Split, data_dir: Path | None, download: bool) -> ImageSet:
    roots = search_path(data_dir)
    found = next(filter(None, (datafiles.find(name, split, root) for root in roots)), None)
    if found is None:
        if not download or data_dir is not None:
            raise datafiles.not_found(name, split, roots)
        target = cache_dir() / "data"
        _download(name, split, target, roots)
        found = datafiles.find(name, split, target)
        if found is None:
            raise datafiles.not_found(name, split, roots)
    if name == "usps":
        return _usps(found[0])
    images_file, labels_file = found
    images = read_idx(images_file)
    labels: np.ndarray[Any, Any]
    if name == "qmnist":
        rows = read_idx_int32(labels_file)
        # The first column is the digit; the first 10,000 test images are MNIST's.
        labels = rows[:, 0] if rows.ndim == 2 else rows
        if split == "test":
            images, labels = images[: _COUNTS["test"]], labels[: _COUNTS["test"]]
    else:
        labels = read_idx(labels_file)
    _check_pair(name, split, images, labels, images_file, labels_file)
    if name in _SAME_NAMES:
        datafiles.check_content(name, split, "images", images, images_file)
        datafiles.check_content(name, split, "labels", labels, labels_file)
        if name != "mnist":
            _check_published(name, images_file, labels_file)
    tensor = torch.from_numpy(images)
    if name == "emnist-digits":
        tensor = tensor.transpose(1, 2)  # EMNIST's files are stored transposed
    return ImageSet(
        name, tensor[:, None].contiguous(), torch.from_numpy(labels.astype(np.int64)).contiguous()
    )


def _usps(path: Path) -> ImageSet:
    scans, labels = datafiles.read_usps(path)
    # 16x16: enlarged to 20x20 and framed, as MNIST's digits are.
    small = torch.from_numpy(scans).float()[:, None]
    large = torch.nn.functional.interpolate(small, 20, mode="bilinear", align_corners=False)
    images = torch.nn.functional.pad(large, (4, 4, 4, 4)).round().to(torch.uint8)
    return ImageSet("usps", images.contiguous(), torch.from_numpy(labels))


def _check_published(name: str, *paths: Path) -> None:
    """Warn of a compressed file that is not the published one: what is inside is not known here."""
    import torchvision.datasets as tv

    known = dict(getattr(tv, datafiles.LAYOUTS[name].folder).resources)
    for path in paths:
        wanted = known.get(path.name)
        if wanted is None:
            continue
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != wanted:
            warnings.warn(
                f"{path} is not the file that {name} was published in (another md5): it may have "
                "been compressed again, or altered; fetch it again to be sure",
                stacklevel=4,
            )


def _check_pair(
    name: str,
    split: Split,
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    images_file: Path,
    labels_file: Path,
) -> None:
    fix = "delete it and fetch it again"
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        shape = "x".join(map(str, images.shape))
        raise InputError(f"{images_file}: holds {shape}, wanted Nx28x28 images; {fix}")
    if labels.ndim != 1:
        shape = "x".join(map(str, labels.shape))
        raise InputError(f"{labels_file}: holds {shape}, wanted N labels; {fix}")
    if len(labels) != len(images):
        raise InputError(
            f"{labels_file}: {len(labels)} labels for the {len(images)} images of "
            f"{images_file.name}; the two files do not belong together, {fix}"
        )
    counts = _EMNIST_COUNTS if name == "emnist-digits" else _COUNTS
    if len(images) != counts[split]:
        raise InputError(
            f"{images_file}: {len(images)} images, wanted {counts[split]} for {name} {split}; {fix}"
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        wrong = int(labels.max()) if labels.max() > 9 else int(labels.min())
        raise InputError(f"{labels_file}: holds label {wrong}, wanted 0 to 9: mislabelled; {fix}")


def _download(name: str, split: Split, target: Path, searched: list[Path]) -> None:
    """Let torchvision fetch a dataset; :class:`MissingError` where it cannot."""
    import torchvision.datasets as tv

    train = split == "train"
    try:
        target.mkdir(parents=True, exist_ok=True)
        match name:
            case "qmnist":
                what = "train" if train else "test10k"
                tv.QMNIST(target, what=what, compat=True, download=True)
            case "emnist-digits":
                tv.EMNIST(target, split="digits", train=train, download=True)
            case "usps":
                tv.USPS(target, train=train, download=True)
            case _:
                cls = getattr(tv, datafiles.LAYOUTS[name].folder)
                cls(target, train=train, download=True)
    except (RuntimeError, OSError) as error:
        why = " ".join(str(error).split())
        raise datafiles.not_found(name, split, searched, f"; the download failed: {why}") from error


def batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled index tensors; a last short batch is dropped unless it is the only one."""
    order = torch.randperm(count, generator=generator)
    full = max(count // batch_size, 1)
    for step in range(full):
        yield order[step * batch_size : (step + 1) * batch_size]
