"""What the C++ runner costs beside a bare torch::jit forward, and beside Python, in one run.

The three take turns: a slice of ``mnistkit-overhead`` (bare C++ against the runner), a slice of
Python's torch.jit and of the runner through its C API from Python. Target: the runner at most
5 % + 2 us over the better bare form.

    python tests/bench/runner_overhead.py OVERHEAD_PROGRAM ARTIFACT [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.common.environment import environment

BATCHES = (1, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each slice")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    artifact = Artifact.open(options.artifact)
    calls = {}
    for name in ("torchscript", "libtorch"):
        predictor = backends.require(name).load(artifact, "fp32", threads=1)
        for batch in BATCHES:
            images = np.ascontiguousarray(np.resize(artifact.golden().images, (batch, 1, 28, 28)))
            calls[f"python {name}", batch] = predictor.bind(images)
            for _ in range(30):
                calls[f"python {name}", batch]()
    slices: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for (name, batch), p50 in _in_cpp(options.program, options.artifact, options.seconds):
            slices.setdefault((name, batch), []).append(p50)
        for key, call in calls.items():
            slices.setdefault(key, []).append(_median_us(call, options.seconds / 2))
    rows = [
        {"call": name, "batch": batch, "p50_us": statistics.median(found), "slices_us": found}
        for (name, batch), found in slices.items()
    ]
    for row in rows:
        print(f"{row['call']:24} batch {row['batch']:4} {row['p50_us']:10.1f} us")
    for batch in BATCHES:
        forms = zip(slices["bare_frozen", batch], slices["bare_optimized", batch], strict=True)
        bare = [min(pair) for pair in forms]
        ratios = [a / b for a, b in zip(slices["runner", batch], bare, strict=True)]
        print(f"runner / better bare form, batch {batch}: {statistics.median(ratios):.3f}")
    if options.json:
        figures = {"environment": environment("torch"), "net": artifact.manifest["net"]["name"]}
        options.json.write_text(
            json.dumps({**figures, "threads": 1, "rows": rows}, indent=1) + "\n"
        )


def _in_cpp(program: Path, artifact: Path, seconds: float) -> list[tuple[tuple[str, int], float]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [program, artifact, "--duration", str(seconds), "--json", file]
        subprocess.run([*map(str, command)], check=False, stdout=subprocess.DEVNULL)
        figures = json.loads(file.read_text())
    return [
        ((name, row["batch"]), row[f"{name}_us"])
        for row in figures["rows"]
        for name in ("bare_frozen", "bare_optimized", "runner")
    ]


def _median_us(call: object, seconds: float) -> float:
    samples, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call()
        samples.append((time.perf_counter() - start) * 1e6)
    return statistics.median(samples)


if __name__ == "__main__":
    main()
