"""Bad input is refused by the check that is for it, and good input by none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_nets import graphs
from mnistkit.artifact.folder import Artifact, FileEntry, file_entry, write_manifest
from mnistkit.common.errors import ArtifactError, InputError
from mnistkit.common.images import check_images
from mnistkit.quantization import store
from safetensors import safe_open
from safetensors.numpy import save


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 28, 28), np.float32), "got dtype float32, wanted uint8"),
        (np.zeros((2, 1, 28, 28), np.int8), "got dtype int8"),
        (np.zeros((2, 1, 28, 28), bool), "got dtype bool"),
        (np.zeros((2, 28, 28), np.uint8), r"got shape \(2, 28, 28\)"),
        (np.zeros((2, 3, 28, 28), np.uint8), r"got shape \(2, 3, 28, 28\)"),
        (np.zeros((2, 1, 28, 27), np.uint8), r"got shape \(2, 1, 28, 27\)"),
        (np.zeros((1, 2, 1, 28, 28), np.uint8), "got shape"),
        ([[0] * 28] * 28, "got list, wanted a numpy array"),
        (None, "got NoneType"),
    ],
)
def test_other_images_are_refused(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_images(images)


def test_images_come_out_contiguous_and_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 28, 28), np.uint8)
    assert check_images(images) is images  # what fits is not copied
    for view in (images[::2], images[..., ::-1], images.swapaxes(2, 3)):
        made = check_images(view)
        assert made.flags.c_contiguous
        np.testing.assert_array_equal(made, view)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact folder with a model that no runtime could load, and golden digits in name."""
    (tmp_path / "model-fp32.onnx").write_bytes(b"0123456789")
    manifest: dict[str, Any] = dict.fromkeys(
        ("mnistkit", "net", "params", "input", "output", "labels", "golden")
    )
    (tmp_path / "golden.npz").write_bytes(b"")
    entries = [
        file_entry(tmp_path / "model-fp32.onnx", "onnx", "fp32"),
        file_entry(tmp_path / "golden.npz", "golden", "all"),
    ]
    write_manifest(tmp_path, {**manifest, "precisions": ["fp32"]}, entries)
    return tmp_path


def test_a_file_of_the_right_hash_is_handed_out(folder: Path) -> None:
    assert Artifact.open(folder).file("onnx", "fp32") == folder / "model-fp32.onnx"


@pytest.mark.parametrize("content", [b"0123456788", b"012345678", b"01234567890", b""])
def test_a_file_of_another_hash_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model-fp32.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match="altered"):
        Artifact.open(folder).file("onnx", "fp32")


def test_a_size_alone_does_not_pass(folder: Path) -> None:
    """A manifest whose size fits, with another file's hash."""
    artifact = Artifact.open(folder)
    entry = artifact.files[0]
    other = FileEntry(entry.name, entry.format, entry.precision, "0" * 64, entry.bytes)
    with pytest.raises(ArtifactError, match="sha256"):
        artifact.check(other)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("weight", np.int16), ("bias", np.int64), ("weight_scale", np.float64)],
)
def test_an_int8_net_of_other_types_is_refused(tmp_path: Path, name: str, dtype: Any) -> None:
    path = tmp_path / "int8.safetensors"
    store.write(path, graphs("nano")[1], {})
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = next(key for key in arrays if key.endswith(f".{name}"))
    path.write_bytes(save({**arrays, key: arrays[key].astype(dtype)}, metadata))
    with pytest.raises(ArtifactError, match="not a whole int8 net"):
        store.read(path)
    path.write_bytes(save(arrays, {"mnistkit-int8": json.dumps({"version": 1})}))
    with pytest.raises(ArtifactError, match="not a whole int8 net"):
        store.read(path)
