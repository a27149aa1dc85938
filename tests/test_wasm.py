"""The engine as WebAssembly: plain code, SIMD, and relaxed SIMD, run in wasmtime.

The compiler and the runtime are packages from PyPI, ziglang and wasmtime; the tests are skipped
where they are not installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_nets import NETS, graphs, pictures, tied
from mnistkit.export import native
from mnistkit.export.writer import reference_logits
from mnistkit.quantization import reference
from target_programs import WASM_LEVELS, WasmProgram, wasm_module, wasm_program

wasmtime = pytest.importorskip("wasmtime")
pytest.importorskip("ziglang")


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The program once for each level."""
    return {level: wasm_module(level, tmp_path_factory.mktemp(level)) for level in WASM_LEVELS}


def _check(program: WasmProgram, name: str, kernels: list[str]) -> None:
    graph, int8 = graphs(name)
    images = np.concatenate([pictures(), np.roll(pictures(), (2, -1), (2, 3))])
    real = reference_logits(graph, images[:3])
    for forced in ("", *kernels):
        for net in (int8, tied(name)):
            chosen, got = program(native.render(net, "int8"), forced, images)
            assert chosen == (forced or kernels[0])
            np.testing.assert_array_equal(got, reference.logits(net, images), chosen)
        _, got = program(native.render(graph, "fp32"), forced, images[:3])
        np.testing.assert_allclose(got, real, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("level", WASM_LEVELS)
def test_bits(modules: dict[str, Path], tmp_path: Path, level: str, name: str) -> None:
    """Every feature level gives the integer reference's logits."""
    _check(wasm_program(modules[level], tmp_path), name, WASM_LEVELS[level][1])


@pytest.mark.parametrize("name", ["base", "nano", "ref-18738"])
def test_the_other_lowering(modules: dict[str, Path], tmp_path: Path, name: str) -> None:
    """wasmtime can be held to the instruction's definition for all hosts, which neither saturates
    nor reads bit 7 as x86 does: equal bits again."""
    config = wasmtime.Config()
    config.wasm_relaxed_simd_deterministic = True
    _check(wasm_program(modules["relaxed"], tmp_path, config), name, WASM_LEVELS["relaxed"][1])


def test_no_feature_that_was_not_asked_for(modules: dict[str, Path]) -> None:
    """A host without relaxed SIMD takes the module for SIMD; one without both, the scalar one."""
    for level, simd in (("scalar", False), ("simd", True)):
        config = wasmtime.Config()
        config.wasm_relaxed_simd = False
        config.wasm_simd = simd
        engine = wasmtime.Engine(config)
        wasmtime.Module.from_file(engine, str(modules[level]))
        with pytest.raises(wasmtime.WasmtimeError, match=r"(?i)simd"):
            wasmtime.Module.from_file(engine, str(modules["relaxed"]))
