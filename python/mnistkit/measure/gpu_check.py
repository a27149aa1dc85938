"""Check everything that a GPU is needed for, and write one JSON of it.

``python -m mnistkit.measure.gpu_check --out gpu.json`` on a machine with an NVIDIA GPU: builds the
plans that can be built there, then runs every part of
:mod:`mnistkit.measure.gpu_parts`. A part whose
library is not there is listed as missing, with what installs it. Exit codes: 0 where nothing
failed, 1 where a part did, 3 where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mnistkit.common.environment import environment
from mnistkit.common.errors import MissingError, MnistkitError
from mnistkit.common.paths import write_text
from mnistkit.common.terminal import program
from mnistkit.data import sets as data
from mnistkit.measure.gpu_parts import PARTS, Setup
from mnistkit.tensorrt import probe
from mnistkit.tensorrt.flavor import FLAVORS

_PACKAGES = (
    *("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "pycuda"),
    "cuda-bindings",
)


def prepare(folder: Path, model: str | None, dataset: str) -> Setup:
    """Export the net with every plan that can be built here, and load the test images.

    Raises :class:`MissingError` where there is no GPU, no net or no data.
    """
    from mnistkit.export.writer import FORMATS, export
    from mnistkit.runs.source import resolve
    from mnistkit.tensorrt.builder import BuildOptions, build_into

    probe.driver()
    source = resolve(model)
    digits = data.load(dataset or source.dataset, "test")
    formats = [name for name in ("torchscript", "onnx") if name in FORMATS]
    export(source, folder, formats, force=True)
    not_built: dict[str, str] = {}
    for name in FLAVORS:
        try:
            build_into(folder, None, BuildOptions(name))
        except MnistkitError as error:
            not_built[name] = str(error)
    return Setup(folder, digits, not_built)


def run_part(name: str, setup: Setup) -> dict[str, Any]:
    """Run one part; its row of the report. Whatever goes wrong becomes a row too."""
    start = time.perf_counter()
    status, reason, figures = "ok", None, None
    try:
        figures = PARTS[name](setup)
    except MissingError as error:
        status, reason = "missing", str(error)
    except Exception as error:  # one part must not hide the others
        status, reason = "failed", f"{type(error).__name__}: {error}"
        if not isinstance(error, MnistkitError):
            reason += "\n" + traceback.format_exc(limit=-4)
    seconds = round(time.perf_counter() - start, 3)
    return {
        "part": name,
        "status": status,
        "reason": reason,
        "seconds": seconds,
        "figures": figures,
    }


def report(rows: Sequence[dict[str, Any]], setup: Setup | None) -> dict[str, Any]:
    """The whole report, as it is written."""
    gpus = [] if probe.missing() else [vars(gpu) for gpu in probe.driver().gpus]
    return {
        "environment": environment(*_PACKAGES, "numpy"),
        "driver": probe.missing() or probe.driver().version,
        "gpus": gpus,
        "not_built": setup.not_built if setup else {},
        "passed": bool(rows) and not any(row["status"] == "failed" for row in rows),
        "parts": list(rows),
    }


def write(path: Path, figures: dict[str, Any]) -> None:
    """Write the report whole or not at all."""
    write_text(path, json.dumps(figures, indent=1, default=list) + "\n")


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Run the parts and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mnistkit.measure.gpu_check", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON to write")
    parser.add_argument("--model", help="a run's folder or a pretrained net; default: the newest")
    parser.add_argument("--dataset", default="", help="test images; default: what it learned from")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only these parts")
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="mnistkit-gpu-") as folder:
        try:
            setup = prepare(Path(folder) / "out", options.model, options.dataset)
        except MnistkitError as error:
            say(f"error: {error}")
            return error.exit_code
        rows = []
        for name in options.part or PARTS:
            rows.append(run_part(name, setup))
            reason = f": {rows[-1]['reason']}" if rows[-1]["reason"] else ""
            say(f"{rows[-1]['status']:8} {name}{reason}")
        figures = report(rows, setup)
        write(options.out, figures)
    say(f"{'passed' if figures['passed'] else 'FAILED'}; report: {options.out}")
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    program(main)
