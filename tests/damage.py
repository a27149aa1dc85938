"""Artifacts that are wrong under right hashes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from mnistkit.artifact.folder import Artifact, file_entry, write_manifest
from mnistkit.quantization import store
from mnistkit.quantization.graph import Int8Conv, Int8Graph


def negated(artifact: Artifact) -> Int8Graph:
    """The artifact's int8 net with the signs of its last convolution turned: a legal, wrong net."""
    graph, _ = store.read(artifact.file("int8", "int8"))
    ops = list(graph.ops)
    last = max(index for index, op in enumerate(ops) if isinstance(op, Int8Conv))
    conv = ops[last]
    assert isinstance(conv, Int8Conv)
    ops[last] = dataclasses.replace(conv, weight=-conv.weight, bias=-conv.bias)
    return dataclasses.replace(graph, ops=tuple(ops))


def with_model(
    artifact: Artifact, folder: Path, format: str, data: bytes, *, edition: int | None
) -> Artifact:
    """A copy whose int8 model of that format is ``data``; the manifest says that edition."""
    made = with_file(artifact, folder, format, "int8", data)
    manifest = {k: v for k, v in made.manifest.items() if k != "int8_edition"}
    if edition is not None:
        manifest["int8_edition"] = edition
    write_manifest(folder, manifest, made.files)
    return Artifact.open(folder)


def with_file(
    artifact: Artifact, folder: Path, format: str, precision: str, data: bytes
) -> Artifact:
    """A copy whose file of that format and precision is ``data``, its hash repaired."""
    shutil.copytree(artifact.path, folder)
    entry = artifact.find(format, precision)
    assert entry is not None
    path = folder / entry.name
    path.write_bytes(data)
    entries = [
        file_entry(path, one.format, one.precision) if one.name == entry.name else one
        for one in artifact.files
    ]
    write_manifest(folder, artifact.manifest, entries)
    return Artifact.open(folder)
