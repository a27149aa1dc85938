"""TensorRT on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mnistkit.cli.app import app
from mnistkit.tensorrt import probe
from tensorrt_common import real
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("no_gpu_here")


def mnistkit(*arguments: object, cwd: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "mnistkit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(probe.missing() is None, reason="there is a GPU here")
def test_the_full_tensorrt_without_a_gpu_exits_with_3(run: Path, tmp_path: Path) -> None:
    common = ("export", run, "--out", "o", "--trt", "--precision", "fp16", "--trt-flavor")
    code, said = mnistkit(*common, "tensorrt", cwd=tmp_path)
    assert code == 3, said
    assert "Traceback" not in said
    assert "mnistkit build-engine o --trt-flavor tensorrt" in " ".join(said.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trt-flavor", "trt"), "unknown TensorRT flavour"),
        (("--min-batch", "9", "--max-batch", "4"), "min <= opt <= max"),
        (("--gpu-arch", "ada"), "a compute capability such as 8.9"),
    ],
)
def test_wrong_options_exit_with_2(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    common = ["export", str(run), "--out", str(tmp_path / "o"), "--trt"]
    result = CliRunner().invoke(app, [*common, *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


@real
def test_the_command_line_builds(run: Path, tmp_path: Path) -> None:
    code, said = mnistkit(
        *("export", run, "--out", "o", "--trt", "--precision", "fp16"),
        *("--trt-flavor", "tensorrt_rtx", "--gpu-arch", "8.9", "--max-batch", 8),
        cwd=tmp_path,
    )
    assert code == 0, said
    info = json.loads((tmp_path / "o" / "model-fp16-sm89-rtx1.json").read_text())
    assert info["profile"] == {"min": 1, "opt": 8, "max": 8}
    code, said = mnistkit(
        *("build-engine", "o", "--gpu-arch", "8.6", "--trt-flavor", "tensorrt_rtx"),
        cwd=tmp_path,
    )
    assert code == 0, said
    assert (tmp_path / "o" / "model-fp16-sm86-rtx1.engine").is_file()
