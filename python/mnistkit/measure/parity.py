"""Parity: every test image through every backend and precision, compared with the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mnistkit import backends
from mnistkit.artifact.folder import PRECISIONS, Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.common import cpu
from mnistkit.common.devices import check_device
from mnistkit.common.environment import environment
from mnistkit.common.errors import ArtifactError, MissingError, MnistkitError
from mnistkit.common.images import Logits
from mnistkit.data.sets import ImageSet
from mnistkit.measure import explain
from mnistkit.measure.compare import compare
from mnistkit.measure.references import is_reference, open_reference, reference_fault, reference_row
from mnistkit.measure.rows import Figures, Status, VerifyReport, VerifyRow

BATCH = 500

RowHook = Callable[[VerifyRow], None]


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
    digits: ImageSet,
    *,
    names: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int = 0,
    on_row: RowHook | None = None,
    on_batch: Callable[[str, int], None] | None = None,
) -> VerifyReport:
    """Compare every backend and precision with its reference on the CPU, over all of ``digits``.

    ``report.passed`` says whether something was compared and every row that counts is inside its
    tolerance. A reference is no row: it is compared with the manifest's accuracy. A peer that is
    wrong counts only where ``names`` holds it.
    """
    here = cpu.this_cpu()
    runnable, unavailable = cases(artifact, names, precisions, device)
    images, labels = digits.images.numpy(), digits.labels.numpy()

    def hook(name: str) -> Callable[[int], None] | None:
        return None if on_batch is None else lambda count: on_batch(name, count)

    references: dict[str, Logits] = {}
    faults: dict[str, str | None] = {}
    needed = {"fp32", *(precision for _, precision in runnable)}
    for precision in (one for one in PRECISIONS if one in needed):
        with open_reference(artifact, precision, threads, check=False) as predictor:
            faults[precision] = reference_fault(predictor, artifact, precision)
            references[precision] = run_all(predictor, images, hook(f"reference {precision}"))
    fp32_correct = int((references["fp32"].argmax(1) == labels).sum())
    rows: list[VerifyRow] = []

    def add(row: VerifyRow) -> None:
        rows.append(row)
        if on_row is not None:
            on_row(row)

    for backend, precision in runnable:
        if is_reference(backend, precision, device):
            continue
        try:
            with backend.load(artifact, precision, device, threads, check=False) as predictor:
                logits = run_all(predictor, images, hook(f"{backend.name} {precision}"))
        except MissingError as error:
            if not backend.is_peer or backend.name in (names or ()):
                raise
            add(_row(artifact, backend, precision, device, "unavailable", str(error)))
            continue
        except Exception as error:
            if not (isinstance(error, MnistkitError) or backend.is_peer):
                raise  # a peer's own errors are findings, ours are bugs
            why = explain.failed_load(error, precision, device, backend, artifact, here)
            reason = explain.joined(explain.told(error), why)
            add(_row(artifact, backend, precision, device, "failed", reason))
            continue
        tolerance = backend.tolerance(precision, device)
        figures, found = compare(logits, references[precision], fp32_correct, labels, tolerance)
        if not found:
            add(_row(artifact, backend, precision, device, "ok", None, figures))
            continue
        why = explain.failed_row(figures, precision, device, backend, artifact, here)
        file = _file(artifact, backend, precision)
        reason = explain.joined(f"{file}: " * (file is not None) + "; ".join(found), why)
        add(_row(artifact, backend, precision, device, "failed", reason, figures))
    for backend, why_not in unavailable:
        add(_row(artifact, backend, None, device, "unavailable", why_not))
    return VerifyReport(
        environment=environment("torch", "onnxruntime", "openvino", "numpy"),
        cpu=here.figures(),
        artifact={
            "net": artifact.manifest["net"]["name"],
            "params": artifact.manifest["params"],
        },
        dataset=digits.name,
        named=list(names or ()),
        references=[
            reference_row(artifact, precision, logits, fp32_correct, digits, faults[precision])
            for precision, logits in references.items()
        ],
        damaged=[] if names else _damaged(artifact, rows, precisions),
        rows=rows,
    )


def _row(
    artifact: Artifact,
    backend: Backend,
    precision: str | None,
    device: str,
    status: Status,
    reason: str | None,
    figures: Figures | None = None,
) -> VerifyRow:
    file = _file(artifact, backend, precision)
    return VerifyRow(
        backend.name, precision, device, backend.is_peer, file, status, reason, figures
    )


def _file(artifact: Artifact, backend: Backend, precision: str | None) -> str | None:
    """Name of the file that a row is about; None where there are several (plans of a GPU each)."""
    wanted = backend.format, precision
    found = [entry.name for entry in artifact.files if (entry.format, entry.precision) == wanted]
    return found[0] if len(found) == 1 else None


def _damaged(
    artifact: Artifact, rows: Sequence[VerifyRow], precisions: Sequence[str] | None
) -> list[str]:
    """What is wrong with the artifact's files that no row has read."""
    read = {row.file for row in rows}
    found = []
    for entry in artifact.files:
        if entry.name in read or (precisions and entry.precision not in precisions):
            continue
        try:
            artifact.check(entry)
        except ArtifactError as error:
            found.append(str(error))
    return found
