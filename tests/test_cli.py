"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mnistkit.artifact.folder import Artifact
from mnistkit.artifact.golden import golden_digits
from mnistkit.export.writer import export
from mnistkit.runs.source import Source
from PIL import Image

COMMANDS = ("train", "export", "verify", "bench", "predict", "nets", "doctor")


def mnistkit(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> tuple[int, str, str]:
    """Run the program as a user does; return exit code, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "mnistkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", **environment},
    )
    return done.returncode, done.stdout, done.stderr


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['mnistkit', '--help']\n"
        "from mnistkit.cli.app import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'matplotlib', 'tensorrt', 'sklearn'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in done.stdout
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    code, out, _ = mnistkit(command, "--help")
    assert code == 0
    assert "--json" in out
    if command != "doctor":
        assert "Examples" in out


def test_the_whole_path(tmp_path: Path) -> None:
    """Train, export, verify, bench: the commands of the README, on scikit-learn's digits."""
    run, out = tmp_path / "runs" / "a", tmp_path / "out"
    code, printed, shown = mnistkit(
        *("train", "--net", "nano", "--dataset", "digits", "--epochs", 2, "--seed", 0),
        *("--threads", 1, "--out", run),
    )
    assert code == 0, shown
    assert "test accuracy" in printed
    assert "epoch  2/2" in shown
    summary = json.loads((run / "summary.json").read_text())
    assert summary["epochs"] == 2
    assert summary["params"] == 2454

    # With nothing named, the newest run and the newest artifact are used.
    code, printed, shown = mnistkit("export", "--onnx", "--torchscript", cwd=tmp_path)
    assert code == 0, shown
    assert {"model-fp32.onnx", "model-fp16.onnx", "model-fp32.torchscript"} <= {
        path.name for path in out.iterdir()
    }
    code, printed, shown = mnistkit("verify", "--json", "v.json", "--threads", 1, cwd=tmp_path)
    assert code == 0, shown + printed
    rows = json.loads((tmp_path / "v.json").read_text())["rows"]
    assert all(
        r["agreement"] == 1.0 for r in rows if r["status"] == "ok" and r["precision"] == "fp32"
    )
    code, printed, shown = mnistkit(
        *("bench", "--batch", "1,4", "--duration", 0.02, "--warmup", 0.01),
        *("--backend", "onnxruntime", "--json", "b.json", "--plot", "b.png"),
        cwd=tmp_path,
    )
    assert code == 0, shown
    assert (tmp_path / "b.png").stat().st_size > 1000
    assert len(json.loads((tmp_path / "b.json").read_text())["rows"]) == 8


def test_pretrained_names_the_packages_weights(tmp_path: Path) -> None:
    """A folder of the same name does not stand in its way."""
    (tmp_path / "nano").mkdir()
    for command in (
        ("quantize", "--pretrained", "nano", "--images", 512, "--dataset", "digits", "--out", "q"),
        ("export", "--pretrained", "nano", "--onnx", "--out", "e"),
        ("verify", "--pretrained", "nano", "--precision", "fp32", "--dataset", "digits"),
        ("bench", "--pretrained", "nano", "--backend", "onnxruntime", "--duration", 0.02),
    ):
        code, printed, shown = mnistkit(*command, cwd=tmp_path)
        assert code == 0, shown + printed
        assert "nano" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"nano", "q", "e"}


def test_a_run_is_read_by_eager_pytorch_alone(run: Path) -> None:
    code, _, error = mnistkit("predict", "x.png", "--model", run, "--backend", "engine")
    assert code == 2
    assert "is not an artifact folder" in " ".join(error.split())


def test_a_damaged_model_makes_verify_fail(artifact: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    path = folder / "model-fp32.torchscript"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, out, error = mnistkit("verify", folder, "--dataset", "digits", "--backend", "torchscript")
    assert code == 1
    assert "model-fp32.torchscript" in out
    assert "parity failed" in error


def test_a_floor_on_accuracy_fails_below_it(artifact: Artifact) -> None:
    common = ("verify", artifact.path, "--backend", "onnxruntime", "--precision", "fp32")
    assert mnistkit(*common, "--min-accuracy", "0.5")[0] == 0
    code, _, error = mnistkit(*common, "--min-accuracy", "0.9999")
    assert code == 1
    assert "below 99.99%" in error


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "--net", "huge", "--dataset", "digits"), 2, "unknown net 'huge'"),
        (("train", "--dataset", "minst"), 2, "unknown dataset 'minst'"),
        (("train", "--dataset", "digits", "--epochs", "0"), 2, "epochs"),
        (("train", "--dataset", "digits", "--device", "cuda:99x"), 2, "wanted cpu, cuda"),
        (("export", "nowhere"), 3, "neither a training run"),
        (("verify", "nowhere"), 3, "mnistkit export"),
        (("verify",), 3, "no artifact folder"),
        (("bench", "nowhere"), 3, "mnistkit export"),
        (("predict", "nowhere.png"), 2, "nowhere.png"),
        (("nets", "huge"), 2, "known nets"),
        (("export", "--pretrained", "huge"), 2, "no pretrained net 'huge'; the package has: base,"),
        (("verify", "out", "--pretrained", "nano"), 2, "got both out and --pretrained nano"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, run: Path
) -> None:
    if arguments[0] == "predict":
        arguments = (*arguments, "--model", str(run))
    got, out, error = mnistkit(*arguments, cwd=tmp_path)
    assert got == code, out + error
    assert message in " ".join(error.split())
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())  # nothing half-made is left


@pytest.mark.parametrize(
    ("option", "value", "code", "message"),
    [
        ("--backend", "tflite", 2, "unknown backend 'tflite'"),
        ("--precision", "int4", 3, "not int4"),
        ("--device", "gpu", 2, "wanted cpu, cuda"),
        ("--batch", "1,x", 2, "wanted numbers"),
        ("--batch", "0", 2, "1 or more"),
    ],
)
def test_wrong_options_of_bench(
    artifact: Artifact, option: str, value: str, code: int, message: str
) -> None:
    got, out, error = mnistkit("bench", artifact.path, option, value)
    assert got == code, out + error
    assert message in " ".join(error.split())


def test_a_missing_gpu_is_named(artifact: Artifact) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    code, _, error = mnistkit(
        "verify", artifact.path, "--backend", "torchscript", "--device", "cuda"
    )
    assert code == 3
    assert "nvidia-smi" in error


def test_nets_prints_the_table_with_its_total() -> None:
    code, out, _ = mnistkit("nets", "ref-10066", "--json", "-")
    assert code == 0
    assert "batch norm, dropout" in out
    assert "10,066" in out
    code, out, _ = mnistkit("nets")
    assert {"base", "small", "nano", "ref-18738"} <= set(out.split())


def test_doctor_names_what_to_do(tmp_path: Path) -> None:
    code, out, _ = mnistkit("doctor", "--json", tmp_path / "d.json")
    assert code == 0
    report = json.loads((tmp_path / "d.json").read_text())
    assert {entry["name"] for entry in report["backends"]} >= {"eager", "libtorch"}
    assert report["environment"]["versions"]["torch"]
    assert report["cpu"]["summary"] in " ".join(out.split())  # a long one is wrapped
    assert "the engine will run" in out
    for name in report["not_installed"]:
        assert f"pip install {name}" in out


def test_bench_lists_what_the_artifact_does_not_hold(source: Source, tmp_path: Path) -> None:
    """One format and precision alone: the other backends are listed below the table."""
    out = export(source, tmp_path / "out", ["onnx"], ["fp32"])
    code, printed, error = mnistkit(
        *("bench", out, "--batch", 1, "--duration", 0.02, "--warmup", 0, "--json", "b.json"),
        cwd=tmp_path,
    )
    assert code == 0, error
    assert "unavailable: torchscript: the artifact holds no torchscript for it" in printed
    listed = json.loads((tmp_path / "b.json").read_text())["unavailable"]
    assert "torchscript" in {one["backend"] for one in listed}


def test_predict_reads_pictures(run: Path, tmp_path: Path) -> None:
    images, _ = golden_digits()
    # Ink on paper, larger than MNIST's: what a scan looks like.
    for index in (0, 5):
        large = Image.fromarray(255 - images[index, 0]).resize((140, 140))
        large.save(tmp_path / f"{index}.png")
    code, out, error = mnistkit(
        *("predict", tmp_path / "0.png", tmp_path / "5.png"),
        *("--model", run, "--json", tmp_path / "p.json"),
    )
    assert code == 0, error
    records = json.loads((tmp_path / "p.json").read_text())
    assert [Path(record["file"]).name for record in records] == ["0.png", "5.png"]
    for record in records:
        assert np.isclose(sum(record["probabilities"]), 1, atol=1e-4)
        assert record["digit"] == int(np.argmax(record["probabilities"]))
    assert "0.png[0]" in out


def test_version() -> None:
    assert mnistkit("--version")[1].startswith("mnistkit ")
