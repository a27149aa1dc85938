"""ONNX files: the opset and IR that each claims, and that each of them holds the same net."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from mnistkit.artifact.folder import Artifact
from mnistkit.cli.app import app
from mnistkit.common.errors import CheckError, UsageError
from mnistkit.export import onnx as format_onnx
from mnistkit.export.writer import export
from mnistkit.quantization.store import of_source
from mnistkit.runs.source import Source, load_run
from mnistkit.tensorrt.lint import lint
from typer.testing import CliRunner

HIGHEST = onnx.defs.onnx_opset_version()
# Opset and the IR of the ONNX release that brought it.
CLAIMS = {"fp32": (9, 4), "fp16": (9, 4), "int8": (13, 7)}


@pytest.fixture(scope="module")
def int8_source(artifact: Artifact) -> Source:
    return load_run(artifact.path.parent / "run")


def render(source: Source, precision: str, opset: int | None = None) -> onnx.ModelProto:
    net = of_source(source)[0] if precision == "int8" else source.graph()
    return onnx.load_model_from_string(format_onnx.render(net, precision, opset))


def logits(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["logits"], {"input": images})[0])


@pytest.mark.parametrize("precision", CLAIMS)
def test_a_file_claims_the_lowest_opset_and_its_ir(artifact: Artifact, precision: str) -> None:
    path = artifact.file("onnx", precision)
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [
        ("", CLAIMS[precision][0])
    ]
    assert model.ir_version == CLAIMS[precision][1]
    opset, ir_version = CLAIMS[precision]
    assert artifact.manifest["onnx"][path.name] == {"opset": opset, "ir_version": ir_version}


@pytest.mark.parametrize("precision", CLAIMS)
def test_one_opset_lower_does_not_hold_the_net(
    int8_source: Source, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(format_onnx.LOWEST_OPSET, precision, CLAIMS[precision][0] - 1)
    with pytest.raises(CheckError, match="is not valid"):
        render(int8_source, precision)


@pytest.mark.parametrize("precision", CLAIMS)
def test_every_opset_gives_the_same_logits(
    int8_source: Source, precision: str, images: np.ndarray
) -> None:
    """Up to 21, which every ONNX Runtime that the package accepts reads."""
    wanted = logits(render(int8_source, precision), images)
    for opset in range(CLAIMS[precision][0], 22):
        model = render(int8_source, precision, opset)
        assert model.opset_import[0].version == opset
        if opset in (9, 13, 17, 20):
            assert model.ir_version == {9: 4, 13: 7, 17: 8, 20: 9}[opset]
        assert np.array_equal(logits(model, images), wanted), f"opset {opset}"
        assert not lint(model, wants_int8=precision == "int8")


def test_the_highest_opset_that_onnx_knows_can_be_written(int8_source: Source) -> None:
    for precision in CLAIMS:
        assert render(int8_source, precision, HIGHEST).ir_version >= 10


@pytest.mark.parametrize(("precision", "opset"), [("fp32", 8), ("fp16", 0), ("int8", 12)])
def test_an_opset_that_does_not_hold_the_net_is_refused(
    int8_source: Source, precision: str, opset: int
) -> None:
    lowest = CLAIMS[precision][0]
    with pytest.raises(UsageError, match=f"opset {opset}: wanted {lowest} to {HIGHEST} "):
        render(int8_source, precision, opset)


def test_the_command_raises_the_opset_of_every_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["export", "--pretrained", "nano", "--onnx", "--opset", "17", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    manifest = json.loads((out / "manifest.json").read_text())
    names = [f"model-{precision}.onnx" for precision in CLAIMS]
    assert manifest["onnx"] == {name: {"opset": 17, "ir_version": 8} for name in names}
    assert manifest["versions"]["onnx_opset"] == 17
    for name in names:
        model = onnx.load(out / name)
        assert (model.opset_import[0].version, model.ir_version) == (17, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--onnx", "--opset", "12"), f"opset 12: wanted 13 to {HIGHEST} (fp32 from 9, fp16 from"),
        (
            ("--onnx", "--opset", "8", "--precision", "fp32"),
            f"opset 8: wanted 9 to {HIGHEST} (fp32",
        ),
        (("--onnx", "--opset", str(HIGHEST + 1)), f"knows up to {HIGHEST}"),
        (("--c", "--opset", "13"), "add --onnx"),
    ],
)
def test_a_wrong_opset_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["export", "--pretrained", "nano", "--out", str(out), *arguments]
    )
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not out.exists()


def test_the_manifest_tells_the_opset_that_is_enough_for_all_files(
    artifact: Artifact, source: Source, tmp_path: Path
) -> None:
    assert artifact.manifest["versions"]["onnx_opset"] == 13
    floats = Artifact.open(export(source, tmp_path / "floats", ["onnx"], ["fp32", "fp16"]))
    assert floats.manifest["versions"]["onnx_opset"] == 9
    without = Artifact.open(export(source, tmp_path / "none", ["native"], ["fp32"]))
    assert "onnx" not in without.manifest
    assert "onnx_opset" not in without.manifest["versions"]
