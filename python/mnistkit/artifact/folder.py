"""The artifact folder: all that a runtime needs, each file held by its hash.

manifest.json   what is here, where it came from, how accurate it is, sha256 of each file
golden.npz      20 digits with labels and each precision's reference logits: what loaders check
model-*         the exported models
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistkit.artifact.edition import check_edition
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.common.paths import write_text

if TYPE_CHECKING:
    from mnistkit.artifact.golden import Golden

SCHEMA = 2
MANIFEST = "manifest.json"
PRECISIONS = ("fp32", "fp16", "int8")
ALL_PRECISIONS = "all"
"""The precision of a file that goes with every model of the folder."""

_KEYS = ("mnistkit", "net", "params", "precisions", "input", "output", "labels", "files")
_SINCE = {"golden": 2}  # keys that came with a later schema
_SCHEMA_1_LACKS = (
    "an artifact of schema 1 has golden logits of fp32 alone; export it again: "
    "mnistkit export RUN --out DIR --force"
)


@dataclass(frozen=True)
class FileEntry:
    """One file of the artifact: its name, format, precision, hash and size in bytes."""

    name: str
    format: str
    precision: str
    sha256: str
    bytes: int


def file_entry(path: Path, format: str, precision: str) -> FileEntry:
    """Describe a file that was just written."""
    return FileEntry(path.name, format, precision, _sha256(path), path.stat().st_size)


class Artifact:
    """An artifact folder opened for reading; every file is checked before it is handed out.

    >>> import mnistkit
    >>> artifact = mnistkit.export("nano", "out", formats=["onnx"], force=True)
    >>> [file.name for file in artifact.files if file.format == "onnx"]
    ['model-fp32.onnx', 'model-fp16.onnx', 'model-int8.onnx']
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.files = tuple(FileEntry(**entry) for entry in manifest["files"])

    @classmethod
    def open(cls, path: Path) -> Artifact:
        """Read and check ``path/manifest.json``.

        Raises :class:`MissingError` where there is none, :class:`ArtifactError` where it is
        damaged or of a newer schema.
        """
        file = path / MANIFEST
        if not file.is_file():
            raise MissingError(
                f"{path} is not an artifact folder (no {MANIFEST}); make one with: "
                f"mnistkit export --out {path}"
            )
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{file}: not valid JSON ({error}); export it again") from error
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        if type(schema) is not int or schema < 1:
            raise ArtifactError(f"{file}: has no schema number; export it again")
        if schema > SCHEMA:
            raise ArtifactError(
                f"{file}: schema {schema}, this mnistkit reads up to {SCHEMA}; "
                f"upgrade mnistkit, or export again with this one"
            )
        wanted = [*_KEYS, *(key for key, since in _SINCE.items() if schema >= since)]
        if missing := [key for key in wanted if key not in manifest]:
            raise ArtifactError(f"{file}: lacks {', '.join(missing)}; export it again")
        try:
            artifact = cls(path, manifest)
        except TypeError as error:
            raise ArtifactError(f"{file}: a file's entry is malformed ({error})") from error
        artifact.golden_entry()
        return artifact

    @property
    def schema(self) -> int:
        """The schema that the manifest is of."""
        return int(self.manifest.get("schema", SCHEMA))

    @property
    def lacks(self) -> str | None:
        """What a folder of an older schema lacks and what to do, or None."""
        return _SCHEMA_1_LACKS if self.schema < SCHEMA else None

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that some model of the folder has."""
        return tuple(self.manifest["precisions"])

    @property
    def dataset(self) -> str:
        """Name of the dataset that the net was trained on."""
        return str((self.manifest.get("dataset") or {}).get("name", "auto"))

    @property
    def int8_edition(self) -> int | None:
        """The edition of the int8 definition that the net is of; None without an int8 net."""
        if "int8" not in self.precisions:
            return None
        edition: int = self.manifest.get("int8_edition", 1)  # checked where a file is opened
        return edition

    def formats(self) -> set[tuple[str, str]]:
        """The ``(format, precision)`` pairs that are there."""
        return {(entry.format, entry.precision) for entry in self.files}

    def find(self, format: str, precision: str) -> FileEntry | None:
        """The entry of that format and precision, unchecked, or None."""
        matching = (e for e in self.files if (e.format, e.precision) == (format, precision))
        return next(matching, None)

    def file(self, format: str, precision: str) -> Path:
        """Path of the file of that format and precision, its size and hash checked.

        Warns where it is int8 of an older edition.
        """
        entry = self.find(format, precision)
        if entry is None:
            have = ", ".join(sorted(f"{f} {p}" for f, p in self.formats()))
            raise MissingError(
                f"{self.path} holds no {precision} {format}; it holds {have}. Export it with: "
                f"mnistkit export --precision {precision} --out {self.path} --force"
            )
        if precision == "int8":
            check_edition(self.int8_edition, str(self.path))
        return self.check(entry)

    def check(self, entry: FileEntry) -> Path:
        """Compare one file with its entry; return its path."""
        path = self.path / entry.name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing, though the manifest lists it; export again")
        if path.stat().st_size != entry.bytes:
            raise ArtifactError(
                f"{path}: {path.stat().st_size} bytes, the manifest says {entry.bytes}: "
                f"truncated or altered; export again"
            )
        if (got := _sha256(path)) != entry.sha256:
            raise ArtifactError(
                f"{path}: sha256 {got[:12]}…, the manifest says {entry.sha256[:12]}…: the file "
                f"was altered after the export; export again"
            )
        return path

    def check_all(self) -> None:
        """Check the size and hash of every file that the manifest lists."""
        for entry in self.files:
            self.check(entry)

    def golden_entry(self) -> FileEntry:
        """The entry of the golden digits; :class:`ArtifactError` where there is none."""
        old, new = self.find("golden-npz", "fp32"), self.find("golden", ALL_PRECISIONS)
        entry = old if self.schema < SCHEMA else new
        if entry is None:
            raise ArtifactError(
                f"{self.path / MANIFEST}: lists no golden digits, which every loader checks itself "
                f"with; export it again"
            )
        return entry

    def golden(self) -> Golden:
        """The golden digits, labels and reference logits, compared with the manifest.

        Raises :class:`ArtifactError` where the file is damaged, or where its labels are not those
        that the manifest speaks of.
        """
        from mnistkit.artifact.golden import read_golden

        path = self.check(self.golden_entry())
        golden = read_golden(path)
        if self.schema < SCHEMA:
            return golden
        if list(golden.classes) != self.manifest["labels"]:
            raise ArtifactError(
                f"{path}: the classes are {', '.join(golden.classes)}, the labels of {MANIFEST} "
                f"{', '.join(map(str, self.manifest['labels']))}; export it again"
            )
        recorded, found = self.manifest["golden"], golden.correct()
        wanted = recorded.get("correct") if isinstance(recorded, dict) else None
        if found != wanted:
            raise ArtifactError(
                f"{path}: of {len(golden.labels)} digits the reference logits give the label of "
                f"{found}, {MANIFEST} says {wanted}: labels or logits were altered; export it again"
            )
        return golden


def write_manifest(path: Path, manifest: Mapping[str, Any], files: Iterable[FileEntry]) -> None:
    """Write ``manifest.json`` last, so that a folder with one is whole."""
    entries = [vars(entry) for entry in files]
    data = {"schema": SCHEMA, **manifest, "files": entries}
    write_text(path / MANIFEST, json.dumps(data, indent=2) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def newest(root: Path = Path()) -> Path:
    """The artifact folder below ``root`` (itself, or one or two levels down) written last."""
    found = [file for depth in ("", "*/", "*/*/") for file in root.glob(depth + MANIFEST)]
    if not found:
        raise MissingError(
            f"no artifact folder in {root.resolve()}; make one with: mnistkit export --out out"
        )
    return max(found, key=lambda file: file.stat().st_mtime).parent
