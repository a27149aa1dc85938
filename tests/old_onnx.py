"""Run exported ONNX files in the ONNX Runtimes of past years: ``make test-old-onnx``.

Not part of the suite: each runtime needs a Python of its time and is installed from the package
index, into ``build/old-onnx``. A runtime whose Python is not on this machine is named and left out.
Exit code 1 where a file that should run does not, or gives other digits; 3 where nothing ran.
"""

from __future__ import annotations

import argparse
import glob
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.onnxruntime import open_session
from mnistkit.data import sets as data
from mnistkit.export.writer import export
from mnistkit.runs.source import pretrained

# Version and its Python, oldest first. 0.4.0 (May 2019) is the first that reads IR 4.
RUNTIMES = (
    ("0.4.0", "3.6"),
    ("1.0.0", "3.6"),
    ("1.4.0", "3.8"),
    ("1.6.0", "3.8"),
    ("1.8.1", "3.8"),
    ("1.12.1", "3.8"),
    ("1.15.1", "3.11"),
    ("1.17.3", "3.11"),
)
FIRST_INT8 = (1, 6)  # the first that knows opset 13
# Largest difference of a logit from today's ONNX Runtime. Old float kernels add in another order;
# old int8 ones round to the neighbouring step here and there.
TOLERANCE = {"fp32": 1e-4, "fp16": 0.03, "int8": 1.0}
OTHER_DIGITS = 2  # of 10,000: two classes may tie

BUILD = Path(__file__).parents[1] / "build" / "old-onnx"
CHILD = """
import sys
import numpy as np, onnxruntime
images = np.load(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1])
parts = [session.run(["logits"], {"input": images[i : i + 500]})[0]
         for i in range(0, len(images), 500)]
np.save(sys.argv[3], np.concatenate(parts))
"""


def python_of(version: str) -> Path | None:
    """A Python of that version: on PATH, of pyenv, or that uv knows; None where there is none."""
    found = [shutil.which(f"python{version}")]
    found += sorted(glob.glob(str(Path.home() / f".pyenv/versions/{version}.*/bin/python")))
    if uv := shutil.which("uv", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin"):
        command = [uv, "python", "find", "--no-python-downloads", version]
        found.append(
            subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        )
    for path in filter(None, found):  # a pyenv shim may stand for nothing
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        if told.stdout.startswith(f"Python {version}."):
            return Path(path)
    return None


def install(version: str, python: Path) -> Path:
    """The Python of an environment that holds that ONNX Runtime."""
    place = BUILD / version
    inner = place / "bin" / "python"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([python, "-m", "venv", place], check=True)
        packages = [f"onnxruntime=={version}", "numpy<2"]
        pip = [inner, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        (place / "ready").touch()
    return inner


def compare(
    python: Path, model: Path, images: Path, wanted: np.ndarray, precision: str
) -> tuple[bool, str]:
    """Whether the old runtime gives the wanted logits, and what to say of it."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "logits.npy"
        command = [python, "-c", CHILD, model, images, out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return False, f"does not run: {done.stderr.strip().splitlines()[-1][:120]}"
        got = np.load(out)
    other = int((got.argmax(1) != wanted.argmax(1)).sum())
    diff = float(np.abs(got - wanted).max())
    ok = other <= OTHER_DIGITS and diff <= TOLERANCE[precision]
    return ok, f"other digits {other} of {len(wanted):,}, largest difference {diff:.2g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=["base", "nano"], help="pretrained nets")
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parser.parse_args()
    ran = failed = 0
    runtimes = {}
    for version, of in RUNTIMES:
        if (python := python_of(of)) is None:
            print(f"{version}: left out: there is no Python {of} here")
        else:
            runtimes[version] = install(version, python)
    with tempfile.TemporaryDirectory() as scratch:
        test = data.load("mnist", "test").images[: arguments.images].numpy()
        images = Path(scratch) / "images.npy"
        np.save(images, test)
        for net in arguments.nets:
            artifact = Artifact.open(export(pretrained(net), Path(scratch) / net, ["onnx"]))
            for precision in artifact.precisions:
                model = artifact.file("onnx", precision)
                session = open_session(model, threads=1)
                parts = [test[i : i + 500] for i in range(0, len(test), 500)]
                wanted = np.concatenate(
                    [session.run(["logits"], {"input": part})[0] for part in parts]
                )
                for version, python in runtimes.items():
                    if precision == "int8" and (*map(int, version.split(".")),) < FIRST_INT8:
                        continue
                    ok, text = compare(python, model, images, wanted, precision)
                    print(f"{net} {precision} {version}: {'ok' if ok else 'FAILED'}: {text}")
                    ran, failed = ran + 1, failed + (not ok)
    return 1 if failed else 0 if ran else 3


if __name__ == "__main__":
    sys.exit(main())
