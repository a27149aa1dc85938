"""The engine as WebAssembly: plain code, SIMD, and relaxed SIMD, run in wasmtime.

The compiler and the runtime are packages from PyPI, ziglang and wasmtime; the tests are skipped
where they are not installed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_nets import NETS, Array, graphs, pictures, tied
from mnistkit import sdk
from mnistkit.export import native, reference_logits
from mnistkit.quantization import reference

wasmtime = pytest.importorskip("wasmtime")
pytest.importorskip("ziglang")

TARGETS = Path(__file__).parent / "targets"
NEEDS_A_CPU = ("avx2", "avx_vnni", "avx512_vnni", "sse41", "neon", "neon_dot")

# What the compiler may use: the flags, and the kernels that then run, the chosen ones first.
LEVELS = {
    "scalar": ([], ["portable", "vector128"]),
    "simd": (["-msimd128"], ["wasm-simd", "vector128", "portable"]),
    "relaxed": (["-msimd128", "-mrelaxed-simd"], ["wasm-relaxed-simd", "wasm-simd"]),
}
Program = Callable[[bytes, str, Array], tuple[str, Array]]


def _zig(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """tests/targets/engine_digits.cpp with the engine, once for each level."""
    root, made = sdk.source_dir() / "cpp", {}
    sources = [TARGETS / "engine_digits.cpp", *(root / "src").rglob("*.cpp")]
    common = ["-target", "wasm32-wasi", "-std=c++20", "-O2", "-ffp-contract=off"]
    common += ["-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror"]
    for level, (flags, _) in LEVELS.items():
        folder = tmp_path_factory.mktemp(level)
        objects = []
        for source in (one for one in sources if one.stem not in NEEDS_A_CPU):
            objects.append(folder / f"{source.stem}.o")
            include = ["-I", root / "include", "-c", source, "-o", objects[-1]]
            _zig("c++", *common, *flags, *include)
        made[level] = folder / "digits.wasm"
        _zig("cc", "-target", "wasm32-wasi", "-s", *objects, "-o", made[level])
    return made


def _program(module: Path, folder: Path, config: Any = None) -> Program:
    """A function (net, kernels, images) -> (the kernels that ran, the logits)."""
    engine = wasmtime.Engine(config) if config else wasmtime.Engine()
    compiled = wasmtime.Module.from_file(engine, str(module))

    def run(net: bytes, kernels: str, images: Array) -> tuple[str, Array]:
        (folder / "net.mnk").write_bytes(net)
        (folder / "images").write_bytes(images.tobytes())
        wasi, store = wasmtime.WasiConfig(), wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        wasi.argv = ["digits", "/net.mnk", kernels]
        wasi.preopen_dir(str(folder), "/")
        wasi.stdin_file = str(folder / "images")
        wasi.stdout_file, wasi.stderr_file = str(folder / "logits"), str(folder / "text")
        store.set_wasi(wasi)
        linker.define_wasi()
        instance = linker.instantiate(store, compiled)
        try:
            instance.exports(store)["_start"](store)
        except wasmtime.ExitTrap as end:
            if end.code:
                pytest.fail((folder / "text").read_text())
        logits = np.frombuffer((folder / "logits").read_bytes(), np.float32).reshape(-1, 10)
        return (folder / "text").read_text().removeprefix("kernels ").strip(), logits

    return run


def _check(program: Program, name: str, kernels: list[str]) -> None:
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
@pytest.mark.parametrize("level", LEVELS)
def test_bits(modules: dict[str, Path], tmp_path: Path, level: str, name: str) -> None:
    """Every feature level gives the integer reference's logits."""
    _check(_program(modules[level], tmp_path), name, LEVELS[level][1])


@pytest.mark.parametrize("name", ["base", "nano", "ref-18738"])
def test_the_other_lowering(modules: dict[str, Path], tmp_path: Path, name: str) -> None:
    """wasmtime can be held to the instruction's definition for all hosts, which neither saturates
    nor reads bit 7 as x86 does: equal bits again."""
    config = wasmtime.Config()
    config.wasm_relaxed_simd_deterministic = True
    _check(_program(modules["relaxed"], tmp_path, config), name, LEVELS["relaxed"][1])


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
