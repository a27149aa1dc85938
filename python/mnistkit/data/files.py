"""The files of the datasets: what they are called, where they lie in a folder, what is in them.

People keep MNIST as torchvision does (``MNIST/raw``), flat in a folder, under the names of other
archives (``t10k-images.idx3-ubyte``), compressed or not, compressed again. All of that is found;
that it is the right data is seen by its content, not by its wrapping.
"""

from __future__ import annotations

import bz2
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mnistkit.common.errors import InputError, MissingError

Split = Literal["train", "test"]

# sha256 of MNIST's four files without compression.
_CONTENT = {
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db": "train images",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5": "train labels",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7": "test images",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2": "test labels",
}
_SHOWN = 6  # entries of a folder that a message lists


@dataclass(frozen=True)
class Layout:
    """Where torchvision keeps a dataset, and what its files are called without compression."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    def files(self, split: Split) -> tuple[str, ...]:
        """The names of a split's files."""
        return self.train if split == "train" else self.test


def _idx(prefix: str, labels: str = "labels-idx1-ubyte") -> tuple[str, str]:
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-{labels}"


LAYOUTS = {
    "mnist": Layout("MNIST", _idx("train"), _idx("t10k")),
    "fashion": Layout("FashionMNIST", _idx("train"), _idx("t10k")),
    "kmnist": Layout("KMNIST", _idx("train"), _idx("t10k")),
    "emnist-digits": Layout("EMNIST", _idx("emnist-digits-train"), _idx("emnist-digits-test")),
    "qmnist": Layout(
        "QMNIST",
        _idx("qmnist-train", "labels-idx2-int"),
        _idx("qmnist-test", "labels-idx2-int"),
    ),
    "usps": Layout("USPS", ("usps",), ("usps.t",)),
}


def find(name: str, split: Split, root: Path) -> tuple[Path, ...] | None:
    """The files of a split below ``root``, all in one folder, or None."""
    files = LAYOUTS[name].files(split)
    for folder in folders(name, root):
        found = [_one(folder, file) for file in files]
        if all(found) and not _of_another(name, folder):
            return tuple(path for path in found if path)
    return None


def folders(name: str, root: Path) -> list[Path]:
    """The folders in which a dataset's files may lie, in the order of the search."""
    own = LAYOUTS[name].folder
    places = [root / own / "raw", root / own, root / "raw", root]
    if name == "emnist-digits":  # its archive has a folder inside
        places = [each for place in places for each in (place, place / "gzip")]
    return places


def _of_another(name: str, folder: Path) -> bool:
    """Whether a folder is by its name another dataset's: three of them have the same file names."""
    others = {layout.folder for other, layout in LAYOUTS.items() if other != name}
    at = folder.absolute()
    return (at.parent.name if at.name == "raw" else at.name) in others


def _names(file: str) -> list[str]:
    dotted = file.replace("-idx", ".idx")
    plain = [file] if dotted == file else [file, dotted]
    ends = ("", ".gz", ".bz2") if file.startswith("usps") else ("", ".gz")
    return [f"{one}{end}" for one in plain for end in ends]


def _one(folder: Path, file: str) -> Path | None:
    # Some archives unpack into a folder of the file's own name.
    for name in _names(file):
        for path in (folder / name, folder / name / name):
            if path.is_file():
                return path
    return None


def not_found(name: str, split: Split, roots: Sequence[Path], why: str = "") -> MissingError:
    """The error that says which files were looked for, in which folders, and what is there."""
    layout = LAYOUTS[name]
    wanted = " and ".join(_names(file)[0] for file in layout.files(split))
    variants = "plain, .gz or .bz2" if name == "usps" else "with - or . before idx; plain or .gz"
    looked = ", ".join(str(folder) for root in roots for folder in folders(name, root))
    holds = "; ".join(f"{root} holds {_listing(root)}" for root in roots if root.is_dir())
    return MissingError(
        f"dataset {name!r} ({split}) not found: looked for {wanted} ({variants}) in {looked}"
        f"{'; ' + holds if holds else ''}{why}. Put its files into one of these folders, name "
        "their folder with --data-dir or MNISTKIT_DATA, or use --dataset digits, which needs no "
        "download"
    )


def _listing(root: Path) -> str:
    try:
        entries = sorted(f"{path.name}{'/' * path.is_dir()}" for path in root.iterdir())
    except OSError as error:
        return f"what cannot be listed ({error.strerror})"
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(entries[:_SHOWN]) + more if entries else "nothing"


def check_content(
    name: str, split: Split, part: Literal["images", "labels"], array: npt.NDArray[Any], path: Path
) -> None:
    """Compare MNIST's files with what is known to be in them, however they are compressed.

    Raises :class:`InputError` where it is something else, or MNIST's in the place of a dataset
    whose files are called the same.
    """
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    got = hashlib.sha256(header + array.tobytes()).hexdigest()
    is_mnist = _CONTENT.get(got)
    if name != "mnist":
        if is_mnist:
            raise InputError(
                f"{path}: holds MNIST's {is_mnist}, wanted {name}'s: the files are called the "
                "same; name the folder of the right ones"
            )
        return
    if is_mnist != f"{split} {part}":
        wanted = next(digest for digest, what in _CONTENT.items() if what == f"{split} {part}")
        what = f"MNIST's {is_mnist}" if is_mnist else "altered, or of another dataset"
        raise InputError(
            f"{path}: wrong checksum (sha256 of what is inside {got}, wanted {wanted}): it is "
            f"{what}; delete it and fetch it again"
        )


def read_usps(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images ``(N, 16, 16)``, 0 to 255, and labels ``(N,)`` of USPS in LIBSVM's text format."""
    fix = "delete it and fetch it again"
    try:
        data = path.read_bytes()
        if data.startswith(b"BZh"):
            data = bz2.decompress(data)
        elif data.startswith(b"\x1f\x8b"):
            import gzip

            data = gzip.decompress(data)
        rows = [line.split() for line in data.decode("ascii").splitlines()]
        labels = np.array([int(row[0]) - 1 for row in rows], dtype=np.int64)
        values = [[float(pair.split(":")[-1]) for pair in row[1:]] for row in rows]
        images = np.array(values, dtype=np.float32).reshape(-1, 16, 16)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: damaged ({error}), wanted USPS as LIBSVM has it; {fix}"
        ) from error
    if len(labels) == 0 or labels.min() < 0 or labels.max() > 9 or np.abs(images).max() > 1:
        raise InputError(f"{path}: wanted labels 1 to 10 and values of -1 to 1; {fix}")
    return ((images + 1) / 2 * 255).astype(np.uint8), labels
