"""Latency and throughput of every backend, measured side by side in one run."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.difference import difference_faults
from mnistkit.backends.tolerances import Tolerance
from mnistkit.common import cpu, errors
from mnistkit.common.environment import environment
from mnistkit.common.errors import CheckError, MissingError, MnistkitError, UsageError
from mnistkit.common.images import Images, Logits
from mnistkit.common.threads import usable_cores
from mnistkit.measure import explain
from mnistkit.measure.parity import cases
from mnistkit.measure.references import open_reference
from mnistkit.measure.roofline import Roofline
from mnistkit.measure.rows import BenchReport, BenchRow, LeftOut

_ROUNDS = 12  # each case is timed in this many slices, in turn with all the others
_RAW_KEPT = 250  # samples of each row that go into the JSON, evenly taken from all of them


@dataclass
class _Case:
    """One row: a call to time and its samples."""

    backend: Backend
    precision: str
    batch: int
    end_to_end: bool
    call: Callable[[], Any]
    load_ms: float
    peak_rss_mb: float
    samples_us: list[float] = field(default_factory=list)


def bench(
    artifact: Artifact,
    *,
    names: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int = 1,
    batch_sizes: Sequence[int] = (1, 8, 64, 512),
    duration: float = 1.0,
    warmup: float = 0.2,
    roofline: bool = False,
    on_progress: Callable[[str, float], None] | None = None,
) -> BenchReport:
    """Time each backend, precision and batch size.

    ``duration`` and ``warmup`` are seconds a row. Every case must first give the reference's
    digits on the batch that is timed. One of ``names`` that does not is an error before anything
    is timed (:class:`CheckError`); where no names are given it is left out, and listed under
    ``wrong`` with its reason. The cases are then timed in turn, slice by slice, so that a noisy
    moment hits all of them. ``end_to_end`` rows go from
    a uint8 array in the caller's memory to logits in the caller's memory; the others time the
    engine alone on data that is bound already. Load time and peak memory are those of a fresh
    process that loads the model and answers once. With ``roofline`` the peak of one core is
    measured between the slices, and each row says what share of it, times the cores that
    ``threads`` can use, the net's multiply-adds take.
    """
    if not batch_sizes or min(batch_sizes) < 1:
        raise UsageError(f"batch sizes must be 1 or more, got {list(batch_sizes)}")
    if duration <= 0 or warmup < 0:
        raise UsageError(f"duration must be positive, got {duration} (warm-up {warmup})")
    asked = frozenset(names or ())
    if names is None:
        names = [b.name for b in backends.all_backends() if b.is_timed]
        names = [name for name in names if backends.get(name).available() is None]
    runnable, unavailable = cases(artifact, names, precisions, device)
    if not runnable:
        reasons = "; ".join(f"{backend.name}: {reason}" for backend, reason in unavailable)
        raise MissingError(f"nothing to measure: {reasons}")

    def progress(what: str, fraction: float) -> None:
        if on_progress is not None:
            on_progress(what, fraction)

    here = cpu.this_cpu()
    predictors: list[Predictor] = []
    rows: list[_Case] = []
    batches = {size: _images(artifact, size) for size in batch_sizes}
    expected: dict[tuple[str, int], Any] = {}
    for precision in dict.fromkeys(precision for _, precision in runnable):
        with open_reference(artifact, precision, threads) as reference:
            for size, images in batches.items():
                expected[precision, size] = reference.logits(images)
    absent = [LeftOut(one.name, None, one.is_peer, reason) for one, reason in unavailable]
    wrong: list[LeftOut] = []
    for index, (backend, precision) in enumerate(runnable):
        progress(f"loading {backend.name} {precision}", 0.2 * index / len(runnable))
        answers = {size: expected[precision, size] for size in batches}
        try:
            predictor, made = _prepare(
                artifact, backend, precision, device, threads, batches, answers
            )
        except Exception as error:
            if not (isinstance(error, MnistkitError) or backend.is_peer):
                raise  # a peer's own errors are findings, ours are bugs
            why = explain.failed_load(error, precision, device, backend, artifact, here)
            reason = explain.joined(explain.told(error), why)
            if backend.name in asked:
                kind = type(error) if isinstance(error, MnistkitError) else CheckError
                raise kind(f"{backend.name} {precision}: {reason}") from error
            left_out = absent if isinstance(error, MissingError) else wrong
            left_out.append(LeftOut(backend.name, precision, backend.is_peer, reason))
            continue
        predictors.append(predictor)
        rows += made
    if not rows:
        reasons = "; ".join(entry.reason for entry in wrong + absent)
        raise CheckError(f"nothing that answers rightly is left to measure: {reasons}")
    ceiling = Roofline(artifact, rows[0].precision) if roofline else None
    for case in rows:
        _run_for(case.call, warmup, [])
    for turn in range(_ROUNDS):
        progress("measuring", 0.2 + 0.8 * turn / _ROUNDS)
        for case in rows:
            _run_for(case.call, duration / _ROUNDS, case.samples_us)
            if ceiling:
                ceiling.measure()
    measured = [_row(case, device, threads) for case in rows]
    peak = ceiling.figures() if ceiling else None
    if ceiling:
        work = artifact.manifest["multiply_adds"]
        cores = min(threads or usable_cores(), usable_cores())  # more threads have no more peak
        measured = [
            dataclasses.replace(row, share_of_peak=work * row.images_per_second / (most * cores))
            if (most := ceiling.peak(row.precision))
            else row
            for row in measured
        ]
        ceiling.close()
    for predictor in predictors:
        predictor.close()
    progress("done", 1.0)
    return BenchReport(
        environment=environment("torch", "onnxruntime", "openvino", "numpy"),
        cpu=here.figures(),
        artifact={
            "net": artifact.manifest["net"]["name"],
            "params": artifact.manifest["params"],
        },
        settings={"duration_s": duration, "warmup_s": warmup, "rounds": _ROUNDS},
        unavailable=absent,
        wrong=wrong,
        rows=measured,
        roofline=peak,
    )


def _prepare(
    artifact: Artifact,
    backend: Backend,
    precision: str,
    device: str,
    threads: int,
    batches: Mapping[int, Images],
    answers: Mapping[int, Logits],
) -> tuple[Predictor, list[_Case]]:
    """Load a backend, compare it with the reference's answers, and make its calls to time."""
    load_ms, peak = _probe(artifact, backend.name, precision, device, threads)
    predictor = backend.load(artifact, precision, device, threads, check=False)
    made: list[_Case] = []
    tolerance = backend.tolerance(precision, device).of_few()  # the golden digits, over and over
    try:
        for size, images in batches.items():
            _check_equal(tolerance, predictor, images, answers[size])
            for end_to_end in (False, True):
                call = _end_to_end(predictor, images) if end_to_end else predictor.bind(images)
                made.append(_Case(backend, precision, size, end_to_end, call, load_ms, peak))
    except Exception:
        predictor.close()
        raise
    return predictor, made


def _images(artifact: Artifact, count: int) -> Images:
    """``count`` images: the golden digits over and over, so that no data set is needed."""
    golden = artifact.golden().images
    return np.ascontiguousarray(np.resize(golden, (count, 1, 28, 28)))


def _end_to_end(predictor: Predictor, images: Images) -> Callable[[], Any]:
    return lambda: predictor.logits(images)


def _check_equal(
    tolerance: Tolerance, predictor: Predictor, images: Images, expected: Logits
) -> None:
    if faults := difference_faults(predictor.logits(images), expected, tolerance):
        raise CheckError(
            f"differs from the reference at batch {len(images)}: {'; '.join(faults)}: not timed. "
            f"See: mnistkit verify"
        )


def _run_for(call: Callable[[], Any], seconds: float, samples_us: list[float]) -> None:
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    while True:
        start = clock()
        call()
        stop = clock()
        samples_us.append((stop - start) / 1000)
        if stop >= end:
            return


def _row(case: _Case, device: str, threads: int) -> BenchRow:
    samples = np.array(case.samples_us)
    p50, p90, p95, p99 = (float(each) for each in np.percentile(samples, (50, 90, 95, 99)))
    return BenchRow(
        backend=case.backend.name,
        precision=case.precision,
        device=device,
        batch=case.batch,
        threads=threads,
        end_to_end=case.end_to_end,
        p50_us=p50,
        p90_us=p90,
        p95_us=p95,
        p99_us=p99,
        mean_us=float(samples.mean()),
        cv=float(samples.std() / samples.mean()),
        images_per_second=case.batch / p50 * 1e6,
        load_ms=case.load_ms,
        peak_rss_mb=case.peak_rss_mb,
        samples=len(samples),
        raw_us=np.round(samples[:: -(-len(samples) // _RAW_KEPT)], 3).tolist(),
    )


_REFUSED = 64  # exit code of the fresh process where the package refused
_PROBE = (
    f"REFUSED = {_REFUSED}"
    + """
import json, resource, sys, time
from pathlib import Path

def peak_kb():
    # ru_maxrss also counts the parent's memory, from between fork and exec; VmHWM does not.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.common.errors import MnistkitError
folder, name, precision, device, threads = sys.argv[1:]
artifact = Artifact.open(Path(folder))
backend = backends.require(name)
start = time.perf_counter()
try:
    predictor = backend.load(artifact, precision, device, int(threads))
    predictor.logits(artifact.golden().images[:1])
except MnistkitError as error:
    print(json.dumps({"error": type(error).__name__, "reason": str(error)}))
    sys.exit(REFUSED)
load_ms = (time.perf_counter() - start) * 1e3
print(json.dumps({"load_ms": load_ms, "peak_rss_mb": peak_kb() / 1024}))
"""
)


def _probe(
    artifact: Artifact, name: str, precision: str, device: str, threads: int
) -> tuple[float, float]:
    """Load time in ms and peak resident memory in MB of a fresh process that answers once.

    An error of the package comes out as it went in; one that dies is a :class:`MnistkitError`.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(artifact.path), name, precision, device, str(threads)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, _REFUSED):
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        code = done.returncode
        how = f"exit code {code}" if code > 0 else signal.strsignal(-code) or f"signal {-code}"
        raise MnistkitError(f"failed in a fresh process ({how}): {last[0]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    if done.returncode == _REFUSED:
        kind: type[MnistkitError] = getattr(errors, figures["error"])
        raise kind(figures["reason"])
    return figures["load_ms"], figures["peak_rss_mb"]
