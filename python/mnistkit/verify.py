"""Parity: every test image through every backend and precision, held against the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mnistkit import backends, cpu, explain
from mnistkit.artifact import Artifact
from mnistkit.backends.base import Backend, Logits, Predictor, check_device
from mnistkit.backends.tolerances import Tolerance
from mnistkit.data import Digits
from mnistkit.environment import environment
from mnistkit.errors import MissingError, MnistkitError

# What each precision is held against: fp32 is the net that was trained, and the integer reference
# is the definition of its int8 net.
REFERENCES = {
    "fp32": ("eager", "fp32"),
    "fp16": ("eager", "fp32"),
    "int8": ("reference", "int8"),
}
BATCH = 500
_LISTED = 20  # differing images that a row lists


RowHook = Callable[[dict[str, Any]], None]


def cases(
    artifact: Artifact,
    names: Sequence[str] | None,
    precisions: Sequence[str] | None,
    device: str,
) -> tuple[list[tuple[Backend, str]], list[tuple[Backend, str]]]:
    """What can be run, as (backend, precision), and what cannot, as (backend, reason).

    A backend asked for by name that is not available is a :class:`MissingError`, and so is a
    precision that the artifact does not hold.
    """
    if missing := [p for p in precisions or () if p not in artifact.precisions]:
        raise MissingError(
            f"{artifact.path} holds {', '.join(artifact.precisions)}, not {', '.join(missing)}; "
            f"export with --precision {','.join(missing)}"
        )
    check_device(device)
    runnable: list[tuple[Backend, str]] = []
    unavailable: list[tuple[Backend, str]] = []
    for backend in map(backends.require, names) if names else backends.all_backends():
        if reason := backend.available():
            unavailable.append((backend, reason))
            continue
        held = [p for p in artifact.precisions if (backend.format, p) in artifact.formats()]
        wanted = [p for p in held if not precisions or p in precisions]
        refusals = {p: backend.refuses(p, device) for p in wanted}
        runs = [(backend, p) for p in wanted if refusals[p] is None]
        runnable += runs
        if not runs:
            reasons = {reason for reason in refusals.values() if reason}
            lacks = f"the artifact holds no {backend.format} for it; export it"
            unavailable.append((backend, "; ".join(sorted(reasons)) or lacks))
    return runnable, unavailable


def run_all(predictor: Predictor, images: Any, on_batch: Callable[[int], None] | None) -> Logits:
    """Logits of all images, in batches."""
    parts = []
    for start in range(0, len(images), BATCH):
        parts.append(predictor.logits(images[start : start + BATCH]))
        if on_batch is not None:
            on_batch(len(parts[-1]))
    return np.concatenate(parts)


def verify(
    artifact: Artifact,
    digits: Digits,
    *,
    names: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int = 0,
    on_row: RowHook | None = None,
    on_batch: Callable[[str, int], None] | None = None,
) -> dict[str, Any]:
    """Hold every backend and precision against its reference on the CPU, over all of ``digits``.

    Returns the report that ``verify --json`` writes; ``report["passed"]`` says whether every row
    is inside its tolerance. A peer that is wrong counts only where ``names`` holds it.
    """
    here = cpu.this_cpu()
    runnable, unavailable = cases(artifact, names, precisions, device)
    images, labels = digits.images.numpy(), digits.labels.numpy()

    def hook(name: str) -> Callable[[int], None] | None:
        return None if on_batch is None else lambda count: on_batch(name, count)

    references: dict[tuple[str, str], Logits] = {}
    for name, kept in {REFERENCES["fp32"], *(REFERENCES[p] for _, p in runnable)}:
        with backends.require(name).load(artifact, kept, "cpu", threads) as predictor:
            references[name, kept] = run_all(predictor, images, hook(f"reference {name} {kept}"))
    fp32 = references[REFERENCES["fp32"]]
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        if on_row is not None:
            on_row(row)

    for backend, precision in runnable:
        head = _head(backend, precision, device)
        if (backend.name, precision) in references and device == "cpu":
            logits = references[backend.name, precision]
        else:
            try:
                with backend.load(artifact, precision, device, threads, check=False) as predictor:
                    logits = run_all(predictor, images, hook(f"{backend.name} {precision}"))
            except MissingError as error:
                if not backend.is_peer or backend.name in (names or ()):
                    raise
                add(_row(head, "unavailable", str(error)))
                continue
            except Exception as error:
                if not (isinstance(error, MnistkitError) or backend.is_peer):
                    raise  # a peer's own errors are findings, ours are bugs
                why = explain.failed_load(error, precision, device, backend, artifact, here)
                add(_row(head, "failed", explain.joined(explain.told(error), why)))
                continue
        reference, tolerance = references[REFERENCES[precision]], backend.tolerance(precision)
        row = _compare(head, logits, reference, fp32, labels, tolerance)
        if row["status"] == "failed":
            why = explain.failed_row(row, backend, artifact, here)
            row["reason"] = explain.joined(row["reason"], why)
        add(row)
    for backend, reason in unavailable:
        add(_row(_head(backend, None, device), "unavailable", reason))
    return {
        "environment": environment("torch", "onnxruntime", "openvino", "numpy"),
        "cpu": here.figures(),
        "artifact": {
            "net": artifact.manifest["net"]["name"],
            "params": artifact.manifest["params"],
        },
        "dataset": digits.name,
        "named": list(names or ()),
        "reference": {
            "backend": REFERENCES["fp32"][0],
            "precision": REFERENCES["fp32"][1],
            "accuracy": float((fp32.argmax(1) == labels).mean()),
        },
        "passed": any(row["status"] == "ok" for row in rows)
        and not any(row["status"] == "failed" and counts(row, names) for row in rows),
        "rows": rows,
    }


def counts(row: Mapping[str, Any], names: Sequence[str] | None) -> bool:
    """Whether a row decides: one of ours, or a peer that was asked for by name."""
    return not row["peer"] or row["backend"] in (names or ())


def standard_error(accuracy: float, total: int) -> float:
    """Binomial standard error of an accuracy, as a fraction."""
    return math.sqrt(accuracy * (1 - accuracy) / total)


_FIGURES = (
    "accuracy",
    "standard_error",
    "correct",
    "total",
    "agreement",
    "max_abs_diff",
    "mean_abs_diff",
    "tolerance",
    "differing",
)


def _head(backend: Backend, precision: str | None, device: str) -> dict[str, Any]:
    return {
        "backend": backend.name,
        "precision": precision,
        "device": device,
        "peer": backend.is_peer,
    }


def _row(head: dict[str, Any], status: str, reason: str | None) -> dict[str, Any]:
    return {**head, "status": status, "reason": reason, **dict.fromkeys(_FIGURES)}


def _images(fraction: float, total: int) -> int:
    """A fraction of the images as a whole number of them, rounded up.

    So the few hundred images of a small test set may hold one whose two best logits are all but
    equal, and of 10,000 images a tolerance is what it says.
    """
    return math.ceil(round(fraction * total, 6))


def _compare(
    head: dict[str, Any],
    logits: Logits,
    reference: Logits,
    fp32: Logits,
    labels: Any,
    tolerance: Tolerance,
) -> dict[str, Any]:
    digits, expected = logits.argmax(1), reference.argmax(1)
    correct, total = int((digits == labels).sum()), len(labels)
    difference = np.abs(logits - reference)
    figures: dict[str, Any] = {
        "accuracy": correct / total,
        "standard_error": standard_error(correct / total, total),
        "correct": correct,
        "total": total,
        "agreement": float((digits == expected).mean()),
        "max_abs_diff": float(difference.max()),
        "mean_abs_diff": float(difference.mean()),
        "tolerance": tolerance.max_abs_diff,
        "differing": [
            {
                "index": int(index),
                "label": int(labels[index]),
                "logits": logits[index].tolist(),
                "reference_logits": reference[index].tolist(),
            }
            for index in np.flatnonzero(digits != expected)[:_LISTED]
        ],
    }
    faults = []
    if not np.isfinite(logits).all():
        faults.append("some logits are not finite")
    if not figures["max_abs_diff"] <= tolerance.max_abs_diff:
        faults.append(
            f"a logit is {figures['max_abs_diff']:.3g} from the reference, "
            f"{tolerance.max_abs_diff:g} is allowed"
        )
    if (digits != expected).sum() > _images(1 - tolerance.agreement, total):
        faults.append(
            f"{figures['agreement']:.2%} of the digits agree, {tolerance.agreement:.2%} is wanted"
        )
    lost = int((fp32.argmax(1) == labels).sum()) - correct
    if lost > _images(tolerance.accuracy_drop, total):
        faults.append(
            f"accuracy falls by {lost / total:.2%}, {tolerance.accuracy_drop:.2%} is allowed"
        )
    row = _row(head, "failed" if faults else "ok", "; ".join(faults) or None)
    return {**row, **figures}
