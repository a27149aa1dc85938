"""Every TensorRT name that the code uses exists: in TensorRT 11.4, and in what is installed."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mnistkit.backends.trt import engine
from mnistkit.tensorrt import flavor
from mnistkit.tensorrt import worker as tensorrt_worker

SOURCES = [Path(str(module.__file__)) for module in (tensorrt_worker, engine, flavor)]

# What a variable of that name is, in those files (without a leading underscore).
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "tensor": "ITensor",
    "error": "ParserError",
    "timing": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
}
# TensorRT for RTX alone has these; they choose the GPU to build for.
RTX_ALONE = {
    "ComputeCapability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}


def chain(node: ast.AST) -> list[str] | None:
    """``a.b.c`` as a list, or None for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = chain(node.value)
        return [*before, node.attr] if before else None
    return None


def used() -> Iterator[tuple[str, str]]:
    """``("trt", "BuilderFlag.TF32")`` and ``("Builder", "create_network")``, with repetitions."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = chain(node) if isinstance(node, ast.Attribute) else None
            if names is None or names[-1].startswith("__"):
                continue
            if names[0] == "self":
                names = names[1:]
            owner = names[0].removeprefix("_")
            if owner == "trt" and len(names) > 1:
                yield "trt", ".".join(names[1:])
            elif owner in CLASSES and len(names) == 2:
                yield CLASSES[owner], names[1]


def known(owner: str, name: str, names: set[str]) -> bool:
    if owner != "trt":
        return f"{owner}.{name}" in names
    parts = name.split(".")
    if len(parts) == 1:
        return name in names or any(each.startswith(f"{name}.") for each in names)
    # The members of a nested enum are listed under the class around it.
    return f"{parts[0]}.{parts[-1]}" in names


def test_the_walk_finds_what_it_should() -> None:
    found = set(used())
    assert {
        ("trt", "Builder"),
        ("trt", "BuilderFlag.TF32"),
        ("trt", "ILogger.Severity.WARNING"),
        ("Builder", "build_serialized_network"),
        ("OnnxParser", "get_error"),
        ("Runtime", "deserialize_cuda_engine"),
        ("IExecutionContext", "execute_async_v3"),
    } <= found
    assert len(found) > 50


def test_every_name_is_in_tensorrt_11_4(tensorrt_names: set[str]) -> None:
    unknown = {(owner, name) for owner, name in used() if not known(owner, name, tensorrt_names)}
    assert {f"{owner}.{name}".removeprefix("trt.") for owner, name in unknown} == RTX_ALONE


def test_a_name_that_is_gone_would_be_seen(tensorrt_names: set[str]) -> None:
    for owner, name in (
        ("trt", "BuilderFlag.INT8"),
        ("trt", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"),
        ("trt", "IInt8EntropyCalibrator2"),
        ("ICudaEngine", "device_memory_size"),
    ):
        assert not known(owner, name, tensorrt_names)


def test_every_name_is_in_the_installed_tensorrt_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    trt: Any = importlib.import_module("tensorrt_rtx")
    for owner, name in used():
        holder = trt if owner == "trt" else getattr(trt, owner)
        for part in name.split("."):
            assert hasattr(holder, part), f"{owner}.{name}"
            holder = getattr(holder, part)
