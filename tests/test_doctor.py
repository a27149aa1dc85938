"""Doctor tells which int8 instructions and which kernels will run, and never falls over."""

from __future__ import annotations

from pathlib import Path

import pytest
from mnistkit.backends.engine import EngineApi
from mnistkit.cli import doctor, tables
from mnistkit.common import cpu
from mnistkit.native.library import ENGINE
from test_cpu import CORTEX_A72, ZEN3, ZEN5, arm, x86

KERNELS = "MNISTKIT_KERNELS"


def lines(here: cpu.Cpu) -> dict[str, str]:
    """The table on int8, first column to second, for a CPU on this machine's libraries."""
    figures = doctor.examine()
    figures["cpu"] = here.figures()
    made = {one.title: one for one in tables.doctor_tables(figures)}["int8 on this CPU"]
    return dict(zip(*(map(str, column.cells) for column in made.columns), strict=True))


@pytest.mark.parametrize(
    ("here", "dot", "text"),
    [
        (cpu.describe(x86(ZEN5), "x86_64", {}), "yes", "products are added in 32 bits"),
        (cpu.describe(x86(ZEN3), "x86_64", {}), "no", "AVX2 alone: pairs of int8 products"),
        (cpu.describe(arm(CORTEX_A72), "aarch64", {}), "no", "NEON without a dot product"),
        (cpu.describe("", "riscv64", {}), "not known", "its int8 instructions are not known here"),
    ],
)
def test_the_table_tells_of_the_cpu(api: EngineApi, here: cpu.Cpu, dot: str, text: str) -> None:
    shown = lines(here)
    assert shown["int8 dot product"] == dot
    assert text in shown["int8 arithmetic"]
    assert here.architecture in shown["instructions"]


def test_the_kernels_are_those_that_the_engine_takes(
    api: EngineApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable = [one.name for one in api.kernels() if one.supported]
    monkeypatch.delenv(KERNELS, raising=False)
    found = doctor.engine_kernels()
    assert found["chosen"] == usable[0]
    assert found["reason"] is None
    assert [one["name"] for one in found["sets"]] == [one.name for one in api.kernels()]
    monkeypatch.setenv(KERNELS, "")  # as the engine reads it: not set
    assert doctor.engine_kernels()["chosen"] == usable[0]
    monkeypatch.setenv(KERNELS, "portable")
    assert doctor.engine_kernels()["chosen"] == "portable"
    shown = lines(cpu.this_cpu())
    assert shown["the engine will run"].startswith("portable (")
    assert "portable" not in shown["the engine can run as well"]


def test_kernels_that_will_not_run_are_named(
    api: EngineApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KERNELS, "mmx")
    found = doctor.engine_kernels()
    assert found["chosen"] is None
    assert "$MNISTKIT_KERNELS names mmx, which the engine does not have" in found["reason"]
    assert lines(cpu.this_cpu())["the engine will run"] == f"none: {found['reason']}"
    lacking = [one.name for one in api.kernels() if not one.supported]
    if not lacking:
        lacking = [api.kernels()[0].name]
        right = EngineApi.kernels

        def without(self: EngineApi) -> list:
            first, *others = right(self)
            return [type(first)(first.name, first.description, supported=False), *others]

        monkeypatch.setattr(EngineApi, "kernels", without)
    monkeypatch.setenv(KERNELS, lacking[0])
    assert "which this CPU cannot run" in doctor.engine_kernels()["reason"]


def test_an_engine_that_is_not_there_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / "none.so"
    monkeypatch.setenv("MNISTKIT_ENGINE_LIBRARY", str(library))
    found = doctor.engine_kernels()
    assert found["chosen"] is None
    assert "there is no such file" in found["reason"]
    library.write_text("no library")
    assert "cannot be loaded" in doctor.engine_kernels()["reason"]
    monkeypatch.delenv("MNISTKIT_ENGINE_LIBRARY")
    monkeypatch.setenv("MNISTKIT_CACHE", str(tmp_path))
    if ENGINE.find() is None:  # it is not inside the package either
        assert "compile it with" in doctor.engine_kernels()["reason"]


def test_pytorch_says_what_it_takes_the_cpu_for() -> None:
    torch = pytest.importorskip("torch")
    found = doctor.examine()["kernels"]["torch"]
    assert found["int8_engine"] in torch.backends.quantized.supported_engines
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
