"""The int8 net on disk: safetensors for the integers, its metadata for the ops and their origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit.artifact.edition import check_edition
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.common.paths import write_bytes
from mnistkit.nets.spec import NetSpec
from mnistkit.quantization.graph import Int8AvgPool, Int8Conv, Int8Graph, Int8MaxPool, Int8Op
from mnistkit.runs.source import INT8, Source

_VERSION = 1  # of the file; the edition of the int8 definition stands beside it
_ARRAYS = {"weight": np.int8, "bias": np.int32, "weight_scale": np.float32}


def dumps(graph: Int8Graph, origin: Mapping[str, Any]) -> bytes:
    """Serialize the net and how it was made; equal nets give equal bytes."""
    from safetensors.numpy import save

    tensors: dict[str, Any] = {}
    ops: list[dict[str, Any]] = []
    for op in graph.ops:
        entry: dict[str, Any] = {"kind": op.kind}
        for key, value in vars(op).items():
            if key in _ARRAYS:
                tensors[f"{op.name}.{key}"] = np.ascontiguousarray(value)
            elif isinstance(value, np.float32):
                entry[key] = float(value)  # exact: every float32 is a float64
            else:
                entry[key] = value
        ops.append(entry)
    head = {
        "version": _VERSION,
        "edition": graph.edition,
        "net": graph.spec.to_dict(),
        "ops": ops,
        "origin": dict(origin),
    }
    return save(tensors, {"mnistkit-int8": json.dumps(head, sort_keys=True)})


def write(path: Path, graph: Int8Graph, origin: Mapping[str, Any]) -> None:
    """Write the net whole or not at all."""
    write_bytes(path, dumps(graph, origin))


def read(path: Path) -> tuple[Int8Graph, dict[str, Any]]:
    """Read the net and its origin; warn of one of an older edition.

    Raises :class:`ArtifactError` where the file is not whole, or breaks its edition's rule.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingError(
            f"{path} is not there: the net is not quantized; make it with: mnistkit quantize"
        )
    try:
        with safe_open(path, framework="np") as file:
            head = json.loads((file.metadata() or {})["mnistkit-int8"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if head["version"] > _VERSION:
            raise ArtifactError(f"{path}: version {head['version']}, this mnistkit reads 1")
        spec = NetSpec.from_dict(head["net"])
        ops = tuple(_op(op, arrays) for op in head["ops"])
        edition, origin = head.get("edition", 1), head["origin"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not a whole int8 net ({error!r}); quantize again") from error
    check_edition(edition, str(path))
    try:
        return Int8Graph(spec, ops, edition), origin
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def of_source(source: Source) -> tuple[Int8Graph, dict[str, Any]]:
    """A trained net's int8 net and how it was made; :class:`MissingError` where there is none."""
    if not source.quantized:
        raise MissingError(
            f"{source.name!r} has no int8 net; make one with: "
            f"mnistkit quantize {source.path} --out {source.path}-int8"
        )
    return read(source.path / INT8)


def _op(entry: dict[str, Any], arrays: Mapping[str, Any]) -> Int8Op:
    fields = {key: value for key, value in entry.items() if key != "kind"}
    for key in ("in_scale", "out_scale"):
        if fields.get(key) is not None:
            fields[key] = np.float32(fields[key])
    match entry["kind"]:
        case "conv":
            for key, dtype in _ARRAYS.items():
                fields[key] = arrays[f"{entry['name']}.{key}"]
                if fields[key].dtype != dtype:
                    raise TypeError(f"{entry['name']}.{key} is {fields[key].dtype}")
            return Int8Conv(**fields)
        case "max_pool":
            return Int8MaxPool(**fields)
        case "avg_pool":
            return Int8AvgPool(**fields)
        case kind:
            raise ValueError(f"unknown op {kind!r}")
