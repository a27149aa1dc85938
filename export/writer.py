"""The writing of the artifact folder: every format in every precision, golden digits, manifest."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from mnistkit.artifact.folder import (
    ALL_PRECISIONS,
    MANIFEST,
    PRECISIONS,
    Artifact,
    FileEntry,
    file_entry,
    write_manifest,
)
from mnistkit.common.environment import versions
from mnistkit.common.errors import CheckError, UsageError
from mnistkit.common.paths import cannot_write, write_bytes
from mnistkit.nets.deploy import DeployGraph
from mnistkit.runs.source import Source, resolve

if TYPE_CHECKING:
    from mnistkit.artifact.golden import Golden
    from mnistkit.quantization.graph import Int8Graph
    from mnistkit.tensorrt.builder import BuildOptions

LABELS = tuple("0123456789")
FORMATS = ("torchscript", "onnx", "native", "c")
INT8_MODEL = "model-int8.safetensors"  # the int8 net itself, which the reference runs


def format_module(name: str) -> ModuleType:
    """The module that writes a format."""
    if name not in FORMATS:
        raise UsageError(f"unknown export format {name!r}; known: {', '.join(FORMATS)}")
    return importlib.import_module(f"mnistkit.export.{name}")


def export_source(
    source: str | Path | Source | None,
    out: str | Path = "out",
    *,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] | None = None,
    opset: int | None = None,
    force: bool = False,
) -> Artifact:
    """Write the artifact folder of a trained net, and open it.

    Args:
        source: a run's folder or a pretrained net; None is the newest run, else ``base``.
        out: the folder; one that holds an artifact is replaced with ``force`` alone.
        formats: some of ``torchscript``, ``onnx``, ``native`` (the engine's) and ``c``.
        precisions: some of ``fp32``, ``fp16`` and ``int8``; all that can be had where left out.
        opset: of the ONNX files; left out, each has the lowest that holds it.
        force: replace an artifact.

    Raises:
        UsageError: an unknown format, precision or opset, or a folder that cannot be written to.
        MissingError: the net is not there.

    >>> import mnistkit
    >>> artifact = mnistkit.export("nano", "out", formats=["onnx", "native"], force=True)
    >>> artifact.manifest["net"]["name"], artifact.manifest["precisions"]
    ('nano', ['fp32', 'fp16', 'int8'])
    """
    net = source if isinstance(source, Source) else resolve(None if source is None else str(source))
    return Artifact.open(export(net, Path(out), formats, precisions, opset=opset, force=force))


def export(
    source: Source,
    out: Path,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] | None = None,
    *,
    trt: BuildOptions | None = None,
    opset: int | None = None,
    force: bool = False,
    on_file: Callable[[FileEntry], None] | None = None,
) -> Path:
    """Write the artifact folder of a trained net and return its path.

    Each format is written in each of the precisions that it knows; left out, they are those of
    fp32, fp16 and, where the net was quantized, int8 that a format here can hold. ``trt`` adds
    TensorRT plans and the ONNX files that they are built from. ``opset`` is that of the ONNX files;
    left out, each has the lowest that holds it. An existing artifact is replaced only with
    ``force``.

    Raises :class:`UsageError` for a precision, format or opset that is not known, or a folder that
    cannot be written to, and :class:`MissingError` where a plan cannot be built on this machine.
    """
    from mnistkit.artifact.golden import write_golden
    from mnistkit.quantization.store import dumps, of_source
    from mnistkit.runs.checkpoint import WEIGHTS, save_tensors

    if unknown := sorted(set(precisions or ()) - set(PRECISIONS)):
        raise UsageError(f"unknown precision {', '.join(unknown)}; known: {', '.join(PRECISIONS)}")
    if (out / MANIFEST).exists() and not force:
        raise UsageError(f"{out} holds an artifact already; replace it with --force")
    if trt is not None:
        from mnistkit.tensorrt import builder as tensorrt

        tensorrt.targets(trt, out)  # what cannot be built here is said before any work
        formats = [*formats, *({"onnx"} - set(formats))]
    modules = [format_module(name) for name in formats]
    possible = {precision for module in modules for precision in module.PRECISIONS}
    if precisions is None:
        had = PRECISIONS if source.quantized else ("fp32", "fp16")
        precisions = [precision for precision in had if precision in possible]
    if beyond := sorted(set(precisions) - possible):
        raise UsageError(f"{' and '.join(formats)} cannot hold {', '.join(beyond)}")
    options = _onnx_options(opset, formats, precisions)
    graph = source.graph()
    int8, origin = of_source(source) if "int8" in precisions else (None, None)
    # Rendered in full before the first write: a fault leaves the folder as it was.
    rendered = [
        part
        for module in modules
        for precision in precisions
        if precision in module.PRECISIONS
        for part in _render(
            module, int8 if precision == "int8" else graph, precision, options.get(module.FORMAT)
        )
    ]
    models = {p: (name, data) for name, format, p, data in rendered if format == "onnx"}
    plans = [] if trt is None else tensorrt.build_all(models, trt)
    try:
        (out / MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    save_tensors(out / WEIGHTS, source.state, {"format": "mnistkit", "net": source.spec.name})
    golden = _golden(graph, int8, fp16="fp16" in precisions)
    write_golden(out / "golden.npz", golden)
    entries = [
        file_entry(out / WEIGHTS, "weights", "fp32"),
        file_entry(out / "golden.npz", "golden", ALL_PRECISIONS),
    ]
    if int8 is not None:
        write_bytes(out / INT8_MODEL, dumps(int8, origin or {}))
        entries.append(file_entry(out / INT8_MODEL, "int8", "int8"))
    for name, format, precision, data in rendered:
        write_bytes(out / name, data)
        entries.append(file_entry(out / name, format, precision))
        if on_file is not None:
            on_file(entries[-1])
    if plans:
        entries += tensorrt.write(out, plans, on_file)
    written = [p for p in PRECISIONS if any(e.precision == p for e in entries)]
    manifest = _manifest(source, written, origin)
    manifest["golden"] = {"total": len(golden.labels), "correct": golden.correct()}
    if models:
        _add_onnx_claims(manifest, models)
    if int8 is not None:
        manifest["int8_edition"] = int8.edition
    if plans:
        manifest["tensorrt"] = tensorrt.describe(plans)
    write_manifest(out, manifest, entries)
    return out


def _render(
    module: ModuleType, net: Any, precision: str, options: dict[str, Any] | None
) -> list[tuple[str, str, str, bytes]]:
    """The ``(name, format, precision, bytes)`` of a format's file and of what goes with it."""
    stem = f"model-{precision}"
    model = module.render(net, precision, **options or {})
    parts = [(stem + module.SUFFIX, module.FORMAT, precision, model)]
    for suffix, make in getattr(module, "COMPANIONS", {}).items():
        parts.append((stem + suffix, f"{module.FORMAT}{suffix}", precision, make(net, precision)))
    return parts


def _onnx_options(
    opset: int | None, formats: Sequence[str], precisions: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What the renderers take besides net and precision; the opset is checked before any work."""
    if opset is None:
        return {}
    if "onnx" not in formats:
        raise UsageError(
            f"an opset ({opset}) is for ONNX, which is not among {', '.join(formats)}; add --onnx"
        )
    from mnistkit.export.onnx import check_opset

    check_opset(opset, precisions)
    return {"onnx": {"opset": opset}}


def _add_onnx_claims(manifest: dict[str, Any], models: dict[str, tuple[str, bytes]]) -> None:
    """Note the opset and IR of each ONNX file, and the opset that is enough for all of them."""
    from mnistkit.export.onnx import claims

    manifest["onnx"] = {name: claims(data) for name, data in models.values()}
    manifest["versions"]["onnx_opset"] = max(f["opset"] for f in manifest["onnx"].values())


def reference_logits(graph: DeployGraph, images: Any) -> Any:
    """The fp32 reference logits ``(N, 10)`` of uint8 images ``(N, 1, 28, 28)``."""
    import torch
    from mnistkit.nets.deploy_module import DeployNet

    with torch.inference_mode():
        return DeployNet(graph)(torch.from_numpy(images)).numpy()


def _golden(graph: DeployGraph, int8: Int8Graph | None, *, fp16: bool) -> Golden:
    """The golden digits with the logits of each precision's own reference."""
    from mnistkit.artifact.golden import Golden, golden_digits
    from mnistkit.quantization import reference

    images, labels = golden_digits()
    logits = {"fp32": reference_logits(graph, images)}
    if fp16:
        logits["fp16"] = reference_logits(graph.rounded_to_fp16(), images)
        if not np.isfinite(logits["fp16"]).all():
            raise CheckError(
                "fp16 cannot hold this net's weights: its logits are not finite; leave it out with "
                "--precision fp32,int8"
            )
    if int8 is not None:
        logits["int8"] = reference.logits(int8, images)
    return Golden(images, labels, logits, LABELS)


def _manifest(
    source: Source, precisions: list[str], calibration: dict[str, Any] | None
) -> dict[str, Any]:
    figures = ("dataset", "epochs", "seed", "test_correct", "test_total", "test_accuracy")
    return {
        "mnistkit": versions()["mnistkit"],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "net": source.spec.to_dict(),
        "params": source.spec.params,
        "multiply_adds": source.spec.multiply_adds,
        "precisions": precisions,
        "dataset": {"name": source.dataset},
        "accuracy": {key: source.summary[key] for key in figures if key in source.summary},
        "input": {"name": "input", "dtype": "uint8", "shape": ["N", 1, 28, 28]},
        "output": {"name": "logits", "dtype": "float32", "shape": ["N", 10]},
        "labels": list(LABELS),
        "versions": versions("torch", "onnx"),
        "calibration": calibration,
    }
