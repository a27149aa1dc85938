"""The int8 nets of the package on every kind of machine: the bits of the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_nets import digits, parse_logits, shipped
from mnistkit.backends.engine import EngineApi
from mnistkit.export import native
from mnistkit.runs.source import pretrained_names
from target_programs import (
    AARCH64,
    WASM_LEVELS,
    cortex_m4_program,
    engine_program,
    execute,
    need,
    run_cortex_m4,
    system,
    wasm_module,
    wasm_program,
)

NETS = pretrained_names()
COUNT = 500


@pytest.mark.parametrize("name", NETS)
def test_here(api: EngineApi, name: str) -> None:
    """On each kernel set that this CPU has."""
    int8, wanted = shipped(name, COUNT)
    for kernels in (kernels.name for kernels in api.kernels() if kernels.supported):
        count = len(wanted) if kernels not in ("portable", "reference") else 20
        with api.open_bytes(native.render(int8, "int8"), kernels) as predictor:
            got = predictor.logits(digits(COUNT)[:count])
            np.testing.assert_array_equal(got, wanted[:count], kernels)


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need((AARCH64, "g++-aarch64-linux-gnu"), ("qemu-aarch64", "qemu-user"), ("cmake", "cmake"))
    return engine_program(tmp_path_factory.mktemp("aarch64"), AARCH64, *system("aarch64"))


@pytest.mark.parametrize(("cpu", "kernels"), [("max", "neon-dot"), ("cortex-a53", "neon")])
@pytest.mark.parametrize("name", NETS)
def test_on_64_bit_arm(aarch64: Path, tmp_path: Path, name: str, cpu: str, kernels: str) -> None:
    int8, wanted = shipped(name, COUNT)
    (tmp_path / "net.mnk").write_bytes(native.render(int8, "int8"))
    count = min(len(wanted), 200)
    command = ["qemu-aarch64", "-cpu", cpu, aarch64, tmp_path / "net.mnk", ""]
    done = execute(*command, input=digits(COUNT)[:count].tobytes())
    assert done.stderr.decode() == f"kernels {kernels}\n"
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 10)
    np.testing.assert_array_equal(got, wanted[:count])


@pytest.mark.parametrize("name", NETS)
def test_on_a_cortex_m4(tmp_path: Path, name: str) -> None:
    """The C export."""
    int8, wanted = shipped(name, COUNT)
    program, _ = cortex_m4_program(int8, digits(COUNT)[:20], tmp_path)
    np.testing.assert_array_equal(parse_logits(run_cortex_m4(program)), wanted[:20])


@pytest.fixture(scope="module", params=["simd", "relaxed"])
def wasm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A module, and the kernels that it takes."""
    level = request.param
    return wasm_module(level, tmp_path_factory.mktemp(level)), WASM_LEVELS[level][1][0]


@pytest.mark.parametrize("name", NETS)
def test_in_webassembly(wasm: tuple[Path, str], tmp_path: Path, name: str) -> None:
    module, kernels = wasm
    int8, wanted = shipped(name, COUNT)
    chosen, got = wasm_program(module, tmp_path)(
        native.render(int8, "int8"), "", digits(COUNT)[:200]
    )
    assert chosen == kernels
    np.testing.assert_array_equal(got, wanted[:200])
