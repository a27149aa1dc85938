"""Every loader checks its model with the golden digits, and refuses what is wrong."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from pathlib import Path

import mnistkit
import numpy as np
import pytest
from damage import with_file
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.artifact.golden import Golden, read_golden, write_golden
from mnistkit.backends.self_check import UncheckedWarning
from mnistkit.common.errors import ArtifactError, CheckError

CASES = [
    (backend.name, precision)
    for backend in backends.all_backends()
    if backend.available() is None
    for precision in backend.precisions
    if backend.refuses(precision, "cpu") is None
]
LOADERS = pytest.mark.parametrize(("name", "precision"), CASES)


def altered(artifact: Artifact, folder: Path, golden: Golden) -> Artifact:
    """A copy with other golden digits, of the right hash."""
    made = folder / "golden.npz"
    write_golden(made, golden)
    return with_file(artifact, folder / "out", "golden", "all", made.read_bytes())


def edited(artifact: Artifact, folder: Path, **changes: object) -> Path:
    """A copy with another manifest; a value of None takes the key away."""
    shutil.copytree(artifact.path, folder)
    file = folder / "manifest.json"
    manifest = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
    return folder


@LOADERS
def test_logits_that_are_not_the_references_are_refused(
    artifact: Artifact, tmp_path: Path, name: str, precision: str
) -> None:
    """The model is sound here and the reference is not: to a loader that is the same."""
    golden = artifact.golden()
    logits = {key: each.copy() for key, each in golden.logits.items()}
    for each in logits.values():
        each[7:9] += 2.0
    wrong = altered(artifact, tmp_path, golden._replace(logits=logits))
    message = rf"{name} {precision} fails its self-check with the golden digits: "
    with pytest.raises(CheckError, match=message):
        mnistkit.load(wrong.path, name, precision, threads=1)
    with mnistkit.load(wrong.path, name, precision, threads=1, check=False) as predictor:
        assert predictor.logits(golden.images).shape == (20, 10)


@LOADERS
def test_goldens_that_were_removed_are_missed(
    artifact: Artifact, tmp_path: Path, name: str, precision: str
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(artifact.path, folder)
    (folder / "golden.npz").unlink()
    with pytest.raises(ArtifactError, match=r"golden\.npz is missing"):
        mnistkit.load(folder, name, precision, threads=1)


def test_a_manifest_without_goldens_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    files = [vars(entry) for entry in artifact.files if entry.format != "golden"]
    with pytest.raises(ArtifactError, match="lists no golden digits"):
        Artifact.open(edited(artifact, tmp_path / "a", files=files))
    with pytest.raises(ArtifactError, match="lacks golden"):
        Artifact.open(edited(artifact, tmp_path / "b", golden=None))


def test_labels_that_were_permuted_are_found(artifact: Artifact, tmp_path: Path) -> None:
    golden = artifact.golden()
    turned = altered(artifact, tmp_path, golden._replace(labels=golden.labels[::-1].copy()))
    with pytest.raises(ArtifactError, match=r"golden\.npz: of 20 digits .* were altered"):
        mnistkit.load(turned.path, "eager")
    names = edited(artifact, tmp_path / "names", labels=list("1023456789"))
    with pytest.raises(ArtifactError, match=r"golden\.npz: the classes are 0, 1, .* 1, 0"):
        mnistkit.load(names, "eager")


@pytest.mark.parametrize("value", [3, {}, {"total": 20, "correct": None}, {"correct": {"fp32": 1}}])
def test_a_malformed_count_is_refused(artifact: Artifact, tmp_path: Path, value: object) -> None:
    with pytest.raises(ArtifactError, match="of 20 digits the reference logits give"):
        Artifact.open(edited(artifact, tmp_path / "out", golden=value)).golden()


def test_hashes_of_all_files_are_checked(artifact: Artifact, tmp_path: Path) -> None:
    artifact.check_all()
    for name in ("model-int8.h", "model-fp32.c", "weights.safetensors", "golden.npz"):
        folder = tmp_path / name
        shutil.copytree(artifact.path, folder)
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
        with pytest.raises(ArtifactError, match=name):
            Artifact.open(folder).check_all()


@pytest.fixture
def schema_1(artifact: Artifact, tmp_path: Path) -> Path:
    """The artifact as mnistkit 0.1.0 wrote it: golden logits of fp32 alone."""
    golden = artifact.golden()
    stream = io.BytesIO()
    np.savez(stream, images=golden.images, labels=golden.labels, logits=golden.logits["fp32"])
    with_file(artifact, tmp_path / "new", "golden", "all", stream.getvalue())
    files = json.loads((tmp_path / "new" / "manifest.json").read_text())["files"]
    for entry in files:
        if entry["format"] == "golden":
            entry.update(format="golden-npz", precision="fp32")
    return edited(artifact, tmp_path / "old", schema=1, golden=None, files=files)


@LOADERS
def test_schema_1_is_read_and_says_what_it_lacks(
    artifact: Artifact, schema_1: Path, name: str, precision: str
) -> None:
    shutil.copy(schema_1.parent / "new" / "golden.npz", schema_1)
    assert read_golden(schema_1 / "golden.npz").classes == ()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with mnistkit.load(schema_1, name, precision, threads=1) as predictor:
            assert len(predictor.logits(artifact.golden().images)) == 20
    said = [str(one.message) for one in caught if one.category is UncheckedWarning]
    if precision != "fp32":
        assert len(said) == 1
        text = f"{precision} is loaded unchecked: an artifact of schema 1 has golden logits"
        assert text in said[0]
    else:
        assert said == []
