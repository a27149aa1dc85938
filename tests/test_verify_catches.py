"""Verify says no to every wrong model, and names the file: each kind of damage in each format."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from damage import with_file
from mnistkit import backends
from mnistkit.artifact.folder import Artifact, write_manifest
from mnistkit.backends.c import CBackend
from mnistkit.cli import app as cli
from mnistkit.data.sets import ImageSet
from mnistkit.export import c, native, onnx, torchscript
from mnistkit.measure import parity as verifying
from mnistkit.measure.rows import VerifyReport
from mnistkit.nets.spec import NetSpec
from mnistkit.quantization import store
from mnistkit.runs.checkpoint import load_weights, save_tensors
from typer.testing import CliRunner
from wrong_nets import FLOAT, INT8, float_with, int8_with

FORMATS: dict[str, ModuleType] = {
    "torchscript": torchscript,
    "onnx": onnx,
    "native": native,
    "c": c,
}
READERS = {
    "torchscript": ("torchscript", "libtorch"),
    "onnx": ("onnxruntime", "openvino"),
    "native": ("engine",),
    "c": ("c",),
}


def usable(*names: str) -> list[str]:
    """Those of the backends that are installed here."""
    found = [name for name in names if backends.get(name).available() is None]
    if not found:
        pytest.skip(f"none of {', '.join(names)} can be used here")
    return found


def all_fail(
    artifact: Artifact, digits: ImageSet, names: list[str], precision: str, file: str
) -> VerifyReport:
    """Every row failed and names the file."""
    report = verifying.verify(artifact, digits, names=names, precisions=[precision], threads=1)
    assert not report.passed
    assert [row.backend for row in report.rows] == names
    for row in report.rows:
        assert row.status == "failed", row.name
        assert row.file == file
        assert file in str(row.reason) or "self-check failed" in str(row.reason)
    return report


@pytest.mark.parametrize("damage", INT8)
@pytest.mark.parametrize("format", FORMATS)
def test_an_int8_model_that_is_wrong_fails(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, format: str, damage: str
) -> None:
    names = usable(*READERS[format])
    module = FORMATS[format]
    data = module.render(int8_with(artifact, damage), "int8")
    wrong = with_file(artifact, tmp_path / "wrong", format, "int8", data)
    all_fail(wrong, digits_test, names, "int8", f"model-int8{module.SUFFIX}")


@pytest.mark.parametrize("damage", FLOAT)
@pytest.mark.parametrize(
    ("format", "precision"), [*((format, "fp32") for format in FORMATS), ("onnx", "fp16")]
)
def test_a_model_in_floats_that_is_wrong_fails(
    artifact: Artifact,
    digits_test: ImageSet,
    tmp_path: Path,
    format: str,
    precision: str,
    damage: str,
) -> None:
    readers = READERS[format] if precision == "fp32" else ("onnxruntime",)
    names = usable(*readers)
    module = FORMATS[format]
    data = module.render(float_with(artifact, damage), precision)
    wrong = with_file(artifact, tmp_path / "wrong", format, precision, data)
    all_fail(wrong, digits_test, names, precision, f"model-{precision}{module.SUFFIX}")


@pytest.mark.parametrize("damage", INT8)
def test_an_int8_reference_that_is_wrong_fails(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, damage: str
) -> None:
    """What is exact disagrees with it, and so do its own golden digits."""
    names = usable("engine", "c")
    _, origin = store.read(artifact.file("int8", "int8"))
    data = store.dumps(int8_with(artifact, damage), origin)
    wrong = with_file(artifact, tmp_path / "wrong", "int8", "int8", data)
    report = verifying.verify(wrong, digits_test, names=names, precisions=["int8"], threads=1)
    assert [row.status for row in report.rows] == ["failed"] * len(names)
    (reference,) = (one for one in report.references if one.precision == "int8")
    assert str(reference.reason).startswith("model-int8.safetensors: on the golden digits")


def test_weights_that_are_wrong_fail(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path
) -> None:
    names = usable("torchscript", "onnxruntime", "engine", "c")
    entry = artifact.find("weights", "fp32")
    assert entry is not None
    path = artifact.check(entry)
    state = load_weights(path, NetSpec.from_dict(artifact.manifest["net"]))
    last = [key for key in state if key.endswith(("weight", "bias"))][-2:]
    changed = {key: value * 1.001 if key in last else value for key, value in state.items()}
    save_tensors(tmp_path / "w", changed, {"format": "mnistkit", "net": "small"})
    wrong = with_file(
        artifact, tmp_path / "wrong", "weights", "fp32", (tmp_path / "w").read_bytes()
    )
    report = verifying.verify(wrong, digits_test, names=names, precisions=["fp32"], threads=1)
    assert [row.status for row in report.rows] == ["failed"] * len(names)


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, [str(one) for one in arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("name", ["model-int8.c", "model-int8.h", "model-fp32.c"])
def test_a_c_file_that_was_replaced_fails(artifact: Artifact, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    (folder / name).write_text("int main(){}\n")
    precision = name[6:10]
    code, text = run(
        "verify", folder, "--dataset", "digits", "--precision", precision, "--threads", 1
    )
    assert code == 1
    assert name in text
    assert "the manifest says" in text
    usable("c")
    code, text = run(
        *("verify", folder, "--dataset", "digits", "--precision", precision, "--backend", "c"),
    )
    assert code == 1
    assert f"{name}: 13 bytes, the manifest says" in text


def test_a_replaced_c_file_is_found_without_a_compiler(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CBackend, "available", lambda self: "there is no C compiler (test)")
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    (folder / "model-fp32.c").write_text("int main(){}\n")
    report = verifying.verify(Artifact.open(folder), digits_test, precisions=["fp32"], threads=1)
    assert not report.passed
    (text,) = report.damaged
    assert "model-fp32.c" in text
    assert all(row.status != "failed" for row in report.rows)


def broken(text: str) -> dict[str, str]:
    """C files that are wrong in one way each."""
    return {
        "int main(){}\n": "declares no ..._run and ..._SCRATCH",
        text[: len(text) // 2]: "does not compile it",
        text.split("#define MNISTKIT_INT8")[0]: "undefined",  # the declarations alone
        text.replace("_SCRATCH ", "_SCRATCH 1"): "declares another net than model-int8.h",
    }


@pytest.mark.parametrize("way", range(4))
def test_a_c_file_that_was_replaced_under_a_right_hash_fails(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, way: int
) -> None:
    (name,) = usable("c")
    found = broken(artifact.file("c", "int8").read_text())
    data, message = list(found.items())[way]
    wrong = with_file(artifact, tmp_path / "wrong", "c", "int8", data.encode())
    report = all_fail(wrong, digits_test, [name], "int8", "model-int8.c")
    assert message in str(report.rows[0].reason)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("eager", "nothing was compared: eager fp32 is a reference"),
        ("reference", "reference int8 is a reference"),
        ("eager,reference", "nothing was compared"),
    ],
)
def test_a_reference_beside_itself_is_no_proof(
    artifact: Artifact, names: str, message: str
) -> None:
    code, text = run("verify", artifact.path, "--dataset", "digits", "--backend", names)
    assert code == 1
    assert message in text


def test_a_right_peer_alone_is_no_proof(
    artifact: Artifact, digits_test: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable("openvino")
    for name in backends.NAMES:
        if name not in ("openvino", "eager", "reference"):
            kind = type(backends.get(name))
            monkeypatch.setattr(kind, "available", lambda self: "not installed (test)")
    report = verifying.verify(artifact, digits_test, precisions=["fp32"], threads=1)
    assert [row.status for row in report.rows if row.figures] == ["ok"]
    assert not report.compared
    assert "nothing was compared" in report.faults[-1]
    named = verifying.verify(
        artifact, digits_test, names=["openvino"], precisions=["fp32"], threads=1
    )
    assert named.passed


@pytest.mark.parametrize("off", [0, 1, 2, -9])
def test_the_fp32_reference_is_held_against_the_manifest(
    artifact: Artifact, digits_test: ImageSet, tmp_path: Path, off: int
) -> None:
    """A test set of 497 may differ by one image; a machine's sums may turn a tie."""
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    known = artifact.manifest["accuracy"]
    assert (known["dataset"], known["test_total"]) == ("digits", len(digits_test))
    changed = {**known, "test_correct": known["test_correct"] + off}
    write_manifest(folder, {**artifact.manifest, "accuracy": changed}, artifact.files)
    report = verifying.verify(
        Artifact.open(folder), digits_test, names=["onnxruntime"], precisions=["fp32"], threads=1
    )
    assert [row.status for row in report.rows] == ["ok"]
    assert report.passed == (abs(off) <= 1)
    (reference,) = report.references
    assert report.passed or "manifest.json says" in str(reference.reason)
