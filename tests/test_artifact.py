"""The artifact folder: whole, hashed, and refused when it is not what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from mnistkit import backends
from mnistkit.artifact.folder import Artifact, newest
from mnistkit.artifact.golden import golden_digits
from mnistkit.common.errors import ArtifactError, MissingError, UsageError
from mnistkit.export.writer import export, reference_logits
from mnistkit.runs.source import Source, load_run


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Path:
    """A copy of the artifact, to be damaged."""
    return Path(shutil.copytree(artifact.path, tmp_path / "copy"))


def edit_manifest(folder: Path, **changes: object) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_manifest_holds_the_contract(artifact: Artifact) -> None:
    manifest = artifact.manifest
    assert manifest["schema"] == 2
    assert manifest["input"] == {"name": "input", "dtype": "uint8", "shape": ["N", 1, 28, 28]}
    assert manifest["output"] == {"name": "logits", "dtype": "float32", "shape": ["N", 10]}
    assert manifest["labels"] == list("0123456789")
    assert manifest["dataset"]["name"] == "digits"
    assert manifest["accuracy"]["test_total"] == 497
    assert manifest["versions"]["onnx_opset"] == 13
    for entry in artifact.files:
        artifact.check(entry)


def test_every_file_of_the_folder_is_listed(artifact: Artifact) -> None:
    listed = {entry.name for entry in artifact.files} | {"manifest.json"}
    assert listed == {path.name for path in artifact.path.iterdir()}


def test_golden_digits_carry_the_reference_logits(artifact: Artifact, source: Source) -> None:
    golden = artifact.golden()
    drawn, drawn_labels = golden_digits()
    assert np.array_equal(golden.images, drawn)
    assert np.array_equal(golden.labels, drawn_labels)
    assert golden.classes == tuple("0123456789")
    wanted = reference_logits(source.graph(), drawn)
    assert np.allclose(golden.logits["fp32"], wanted, atol=1e-5)
    with backends.get("reference").load(artifact, "int8", check=False) as predictor:
        assert np.array_equal(golden.logits["int8"], predictor.logits(drawn))
    assert artifact.manifest["golden"] == {"total": 20, "correct": golden.correct()}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_onnx_is_valid_and_its_batch_is_dynamic(artifact: Artifact, precision: str) -> None:
    model = onnx.load(artifact.file("onnx", precision))
    onnx.checker.check_model(model, full_check=True)
    tensors = (model.graph.input[0], model.graph.output[0])
    assert [tensor.name for tensor in tensors] == ["input", "logits"]
    assert all(tensor.type.tensor_type.shape.dim[0].dim_param == "N" for tensor in tensors)
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds


def test_a_newer_schema_is_refused(copy: Path) -> None:
    edit_manifest(copy, schema=3)
    with pytest.raises(ArtifactError, match="schema 3, this mnistkit reads up to 2; upgrade"):
        Artifact.open(copy)


@pytest.mark.parametrize("schema", [None, 0, "1", True])
def test_a_manifest_without_a_schema_is_refused(copy: Path, schema: object) -> None:
    edit_manifest(copy, schema=schema)
    with pytest.raises(ArtifactError, match="no schema number"):
        Artifact.open(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[]", "no schema"), ('{"schema": 1}', "lacks mnistkit")],
)
def test_a_damaged_manifest_is_refused(copy: Path, text: str, message: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=message):
        Artifact.open(copy)


def test_a_malformed_file_entry_is_refused(copy: Path) -> None:
    edit_manifest(copy, files=[{"name": "x"}])
    with pytest.raises(ArtifactError, match="malformed"):
        Artifact.open(copy)


def test_one_changed_byte_is_found(copy: Path) -> None:
    path = copy / "model-fp32.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model-fp32\.onnx: sha256 .* altered after"):
        Artifact.open(copy).file("onnx", "fp32")


def test_a_truncated_and_a_missing_file_are_found(copy: Path) -> None:
    path = copy / "model-fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="truncated or altered"):
        Artifact.open(copy).file("onnx", "fp32")
    path.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        Artifact.open(copy).file("onnx", "fp32")


def test_what_the_folder_lacks_comes_with_the_command(artifact: Artifact) -> None:
    with pytest.raises(MissingError, match="mnistkit export --precision bf16"):
        artifact.file("onnx", "bf16")


def test_a_missing_folder_comes_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="mnistkit export --out"):
        Artifact.open(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="no artifact folder"):
        newest(tmp_path)


def test_an_artifact_is_replaced_only_with_force(source: Source, copy: Path) -> None:
    with pytest.raises(UsageError, match="--force"):
        export(source, copy)
    export(source, copy, ["onnx"], ["fp32"], force=True)
    assert Artifact.open(copy).precisions == ("fp32",)


def test_left_out_precisions_are_those_that_the_format_holds(
    artifact: Artifact, tmp_path: Path
) -> None:
    run = load_run(artifact.path.parent / "run")
    assert set(Artifact.open(export(run, tmp_path / "n", ["native"])).precisions) == {
        "fp32",
        "int8",
    }


@pytest.mark.parametrize(
    ("formats", "precisions", "message"),
    [
        (["onnx"], ["fp8"], "unknown precision fp8"),
        (["coreml"], ["fp32"], "unknown export format"),
    ],
)
def test_unknown_formats_and_precisions_are_refused(
    source: Source, tmp_path: Path, formats: list[str], precisions: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export(source, tmp_path / "out", formats, precisions)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_named(source: Source, tmp_path: Path) -> None:
    if os.geteuid() == 0:  # root writes into any folder but the kernel's own
        target = Path("/proc/mnistkit")
    else:
        target = tmp_path / "locked"
        target.mkdir(mode=0o555)
    with pytest.raises(UsageError, match=f"cannot write {target}"):
        export(source, target, ["onnx"], ["fp32"])


def test_a_full_disk_leaves_nothing_half_written(run: Path, tmp_path: Path) -> None:
    """The kernel refuses to let any file grow past 20 kB, as a full disk would."""
    script = (
        "import resource, signal, sys; from pathlib import Path;"
        "from mnistkit.export.writer import export; from mnistkit.runs.source import load_run;"
        "from mnistkit.common.errors import UsageError;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "source = load_run(Path(sys.argv[1]));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));\n"
        "try: export(source, Path(sys.argv[2]), ['onnx'], ['fp32'])\n"
        "except UsageError as error: print(error); sys.exit(error.exit_code)"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", script, run, out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stdout
    assert "has room" in done.stdout
    assert not (out / "manifest.json").exists()
    assert all(path.stat().st_size < 20_000 and path.name[0] != "." for path in out.iterdir())
