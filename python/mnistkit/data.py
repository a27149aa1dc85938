"""Datasets as one uint8 tensor each, found on disk or downloaded through torchvision."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mnistkit.errors import InputError, MissingError, UsageError
from mnistkit.idx import read_idx
from mnistkit.paths import cache_dir

DATASETS = ("mnist", "qmnist", "emnist-digits", "usps", "fashion", "kmnist", "digits")
Split = Literal["train", "test"]

# Datasets in MNIST's own four files: torchvision's class and its folder below the data root.
_IDX_CLASSES = {"mnist": "MNIST", "fashion": "FashionMNIST", "kmnist": "KMNIST"}
_COUNTS = {"train": 60_000, "test": 10_000}
_PREFIX = {"train": "train", "test": "t10k"}
_DIGITS_TEST = 497  # of scikit-learn's 1,797 scans; the other 1,300 train


@dataclass(frozen=True)
class Digits:
    """Labelled images on the CPU: uint8 ``(N, 1, 28, 28)`` and int64 labels ``(N,)``."""

    name: str
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def subset(self, index: Tensor) -> Digits:
        """The images at these positions."""
        return Digits(self.name, self.images[index], self.labels[index])

    def hold_out(self, count: int) -> tuple[Digits, Digits]:
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


def load(name: str, split: Split, data_dir: Path | None = None, *, download: bool = True) -> Digits:
    """Load one split of a dataset.

    Searches ``data_dir``, ``$MNISTKIT_DATA`` and the user's cache folder, then downloads into
    the cache through torchvision. ``auto`` is MNIST where it can be had, otherwise scikit-learn's
    ``digits`` with a :class:`DatasetWarning`. Raises :class:`UsageError` for an unknown name,
    :class:`InputError` for a damaged file and :class:`MissingError` where nothing is found.
    """
    if split not in ("train", "test"):
        raise UsageError(f"split must be 'train' or 'test', got {split!r}")
    name = resolve(name, data_dir, download=download)
    if name == "digits":
        return _load_digits(split)
    if name in _IDX_CLASSES:
        return _load_idx(name, split, data_dir, download)
    return _load_torchvision(name, split, data_dir, download)


def search_path(data_dir: Path | None = None) -> list[Path]:
    """The folders that are searched for datasets, in order."""
    if data_dir is not None and not data_dir.is_dir():
        raise MissingError(f"data folder {data_dir} does not exist; name one that does")
    named = os.environ.get("MNISTKIT_DATA")
    roots = [data_dir, Path(named) if named else None, cache_dir() / "data"]
    return [root for root in roots if root is not None]


def resolve(name: str, data_dir: Path | None = None, *, download: bool = True) -> str:
    """Return what ``name`` stands for: ``auto`` is MNIST where it can be had, else ``digits``."""
    if name in DATASETS:
        return name
    if name != "auto":
        raise UsageError(f"unknown dataset {name!r}; known: auto, {', '.join(DATASETS)}")
    try:
        _load_idx("mnist", "test", data_dir, download)
    except MissingError as error:
        warnings.warn(
            "MNIST is not here and could not be downloaded: using scikit-learn's 'digits' "
            "(1,797 real scans of 8x8 pixels) INSTEAD. Figures below are not MNIST figures. "
            f"({error})",
            DatasetWarning,
            stacklevel=3,
        )
        return "digits"
    return "mnist"


def _load_digits(split: Split) -> Digits:
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
    return Digits("digits", images[part].contiguous(), labels[part].contiguous())


def _load_idx(name: str, split: Split, data_dir: Path | None, download: bool) -> Digits:
    class_name = _IDX_CLASSES[name]
    files = [f"{_PREFIX[split]}-{part}-ubyte" for part in ("images-idx3", "labels-idx1")]
    folders = [root / class_name / "raw" for root in search_path(data_dir)]
    found = next(filter(None, (_both(folder, files) for folder in folders)), None)
    if found is None:
        if not download:
            raise _not_found(name, folders)
        folder = _download(name, split, folders)
        found = _both(folder / class_name / "raw", files)
        if found is None:
            raise _not_found(name, folders)
    images_file, labels_file = found
    for path in found:
        _check_md5(path, class_name)
    images, labels = read_idx(images_file), read_idx(labels_file)
    _check_pair(name, split, images, labels, images_file, labels_file)
    return Digits(
        name, torch.from_numpy(images)[:, None].contiguous(), torch.from_numpy(labels).long()
    )


def _both(folder: Path, files: list[str]) -> tuple[Path, Path] | None:
    paths = []
    for file in files:
        candidates = (folder / file, folder / f"{file}.gz")
        paths.append(next((path for path in candidates if path.is_file()), None))
    return (paths[0], paths[1]) if paths[0] and paths[1] else None


def _not_found(name: str, folders: list[Path], why: str = "") -> MissingError:
    looked = ", ".join(str(folder) for folder in folders)
    return MissingError(
        f"dataset {name!r} not found; looked in {looked}{why}. Put its four IDX files (plain or "
        f".gz) into one of them, name a folder with --data-dir or MNISTKIT_DATA, or use "
        f"--dataset digits, which needs no download"
    )


def _check_md5(path: Path, class_name: str) -> None:
    """Hold a compressed file against torchvision's published checksum."""
    import torchvision.datasets as tv

    known = dict(getattr(tv, class_name).resources)
    wanted = known.get(path.name)
    if wanted is None:
        return
    got = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if got != wanted:
        raise InputError(
            f"{path}: wrong checksum (md5 {got}, wanted {wanted}): the file is truncated or "
            f"altered; delete it and fetch it again"
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
    if len(images) != _COUNTS[split]:
        raise InputError(
            f"{images_file}: {len(images)} images, wanted {_COUNTS[split]} "
            f"for {name} {split}; {fix}"
        )
    if int(labels.max()) > 9:
        raise InputError(
            f"{labels_file}: holds label {int(labels.max())}, wanted 0 to 9: mislabelled; {fix}"
        )


def _download(name: str, split: Split, folders: list[Path]) -> Path:
    target = cache_dir() / "data"
    _torchvision(name, split, target, folders, download=True)
    return target


def _load_torchvision(name: str, split: Split, data_dir: Path | None, download: bool) -> Digits:
    roots = search_path(data_dir)
    for root in roots:
        if dataset := _torchvision(name, split, root, roots, download=False):
            return _from_torchvision(name, dataset)
    if not download:
        raise _not_found(name, roots)
    return _from_torchvision(
        name, _torchvision(name, split, cache_dir() / "data", roots, download=True)
    )


def _torchvision(
    name: str, split: Split, root: Path, searched: list[Path], *, download: bool
) -> Any:
    """Return torchvision's dataset at ``root``; None where it is absent and not to be fetched."""
    import torchvision.datasets as tv

    train = split == "train"
    try:
        if download:
            root.mkdir(parents=True, exist_ok=True)
        match name:
            case "qmnist":
                what = "train" if train else "test10k"
                return tv.QMNIST(root, what=what, compat=True, download=download)
            case "emnist-digits":
                return tv.EMNIST(root, split="digits", train=train, download=download)
            case "usps":
                return tv.USPS(root, train=train, download=download)
            case _:
                return getattr(tv, _IDX_CLASSES[name])(root, train=train, download=download)
    except (RuntimeError, FileNotFoundError, OSError) as error:
        if not download:
            return None
        why = " ".join(str(error).split())
        raise _not_found(name, searched, f"; the download failed: {why}") from error


def _from_torchvision(name: str, dataset: Any) -> Digits:
    images = torch.as_tensor(np.asarray(dataset.data))
    labels = torch.as_tensor(np.asarray(dataset.targets)).long()
    if name == "emnist-digits":
        images = images.transpose(1, 2)  # EMNIST's files are stored transposed
    if name == "usps":  # 16x16: enlarged to 20x20 and framed, as MNIST's digits are
        small = images.float()[:, None]
        large = torch.nn.functional.interpolate(small, 20, mode="bilinear", align_corners=False)
        images = torch.nn.functional.pad(large, (4, 4, 4, 4)).round().to(torch.uint8)[:, 0]
    return Digits(name, images[:, None].contiguous(), labels)


def batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled index tensors; a last short batch is dropped unless it is the only one."""
    order = torch.randperm(count, generator=generator)
    full = max(count // batch_size, 1)
    for step in range(full):
        yield order[step * batch_size : (step + 1) * batch_size]
