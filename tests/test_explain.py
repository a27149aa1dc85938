"""A row that fails on int8 tells of the CPU, the likely cause and the remedy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from damage import negated, with_model
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.common import cpu
from mnistkit.common.errors import CheckError
from mnistkit.data.sets import ImageSet
from mnistkit.export import torchscript
from mnistkit.measure import explain
from mnistkit.measure import latency as bench
from mnistkit.measure import parity as verifying
from mnistkit.measure.compare import compare
from mnistkit.measure.rows import Figures
from test_cpu import CORTEX_A72, NEHALEM, SKYLAKE_X, ZEN3, ZEN5, arm, x86

# What a loader says of the first edition is tested in test_int8_edition.py.
pytestmark = pytest.mark.filterwarnings("ignore::mnistkit.artifact.edition.EditionWarning")

AVX2 = cpu.describe(x86(ZEN3), "x86_64", {})
VNNI = cpu.describe(x86(ZEN5), "x86_64", {})
HELD = cpu.describe(x86(ZEN5), "x86_64", {"ONEDNN_MAX_CPU_ISA": "AVX2"})
UNKNOWN = cpu.describe("", "riscv64", {})

QUANTIZE = "mnistkit quantize RUN --out RUN-int8, then mnistkit export RUN-int8"
SUSPECT = "suspect the file or the runtime: export again"


@pytest.fixture
def first(artifact: Artifact, tmp_path: Path) -> Artifact:
    """A wrong TorchScript file in an artifact that names no edition."""
    data = torchscript.render(negated(artifact), "int8")
    return with_model(artifact, tmp_path / "first", "torchscript", data, edition=None)


@pytest.fixture
def second(artifact: Artifact, tmp_path: Path) -> Artifact:
    """A wrong TorchScript file in an artifact of the second edition."""
    data = torchscript.render(negated(artifact), "int8")
    return with_model(artifact, tmp_path / "second", "torchscript", data, edition=2)


def reason(
    artifact: Artifact, digits: ImageSet, monkeypatch: pytest.MonkeyPatch, here: cpu.Cpu, name: str
) -> str:
    if missing := backends.get(name).available():
        pytest.skip(missing)
    monkeypatch.setattr(cpu, "this_cpu", lambda: here)
    report = verifying.verify(artifact, digits, names=[name], precisions=["int8"], threads=1)
    assert report.cpu == here.figures()
    assert not report.passed
    (row,) = report.rows
    assert row.status == "failed"
    return str(row.reason)


def figures(worst: float) -> Figures:
    """Figures of a row whose logits are that far off."""
    logits = np.full((1, 10), worst, np.float32)
    exact = backends.get("reference").tolerance("int8")
    return compare(logits, np.zeros_like(logits), 1, np.zeros(1, int), exact)[0]


@pytest.mark.parametrize(
    ("here", "how"),
    [
        (AVX2, "(x86_64: sse4.1, avx2) adds pairs of products in 16 bits (AVX2 without VNNI)"),
        (cpu.describe(x86(NEHALEM), "x86_64", {}), "in 16 bits (SSE without VNNI)"),
        (cpu.describe(x86(SKYLAKE_X), "x86_64", {}), "in 16 bits (AVX-512 without VNNI)"),
        (HELD, "in 16 bits (held to it by ONEDNN_MAX_CPU_ISA=AVX2)"),
    ],
)
def test_the_first_edition_without_a_dot_product(
    first: Artifact,
    digits_test: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    here: cpu.Cpu,
    how: str,
) -> None:
    text = reason(first, digits_test, monkeypatch, here, "torchscript")
    assert "from the reference" in text  # what failed comes first
    assert how in text
    assert "of the first edition, whose weights may exceed them" in text
    assert QUANTIZE in text
    assert SUSPECT not in text


@pytest.mark.parametrize("here", [VNNI, UNKNOWN, cpu.describe(arm(CORTEX_A72), "aarch64", {})])
def test_the_first_edition_elsewhere(
    first: Artifact, digits_test: ImageSet, monkeypatch: pytest.MonkeyPatch, here: cpu.Cpu
) -> None:
    text = reason(first, digits_test, monkeypatch, here, "torchscript")
    assert f"this CPU ({here.label}): {here.summary}" in text
    assert "of the first edition" in text
    assert text.index(QUANTIZE) < text.index(f"if it still fails, {SUSPECT}")


@pytest.mark.parametrize("here", [AVX2, VNNI, HELD, UNKNOWN])
def test_the_second_edition_rules_the_cpu_out(
    second: Artifact, digits_test: ImageSet, monkeypatch: pytest.MonkeyPatch, here: cpu.Cpu
) -> None:
    text = reason(second, digits_test, monkeypatch, here, "torchscript")
    assert f"this CPU ({here.label}): {here.summary}" in text
    assert f"of edition 2, whose weights cannot exceed 16 bits in pairs, so {SUSPECT}" in text
    assert "quantize" not in text


@pytest.mark.parametrize("name", ["torchscript", "libtorch"])
def test_a_self_check_that_fails_is_explained(
    first: Artifact, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """``bench`` loads each model in a process of its own, where it checks itself."""
    monkeypatch.setattr(cpu, "this_cpu", lambda: AVX2)
    with pytest.raises(CheckError) as caught:
        bench.bench(first, names=[name], precisions=["int8"], batch_sizes=(1,))
    text = str(caught.value)
    assert f"{name} int8: {first.path}: {name} int8 fails its self-check" in text
    assert "adds pairs of products in 16 bits (AVX2 without VNNI)" in text
    assert QUANTIZE in text


def test_a_damaged_file_is_not_put_on_the_cpu(
    first: Artifact, digits_test: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = first.path / "model-int8.torchscript"
    path.write_bytes(path.read_bytes()[:-1])
    text = reason(first, digits_test, monkeypatch, AVX2, "torchscript")
    assert "truncated or altered" in text
    assert "16 bits" not in text


def test_other_precisions_and_devices_are_not_explained(first: Artifact) -> None:
    backend = backends.get("torchscript")
    off = figures(13.7)
    assert explain.failed_row(off, "int8", "cpu", backend, first, AVX2)
    assert explain.failed_row(off, "fp32", "cpu", backend, first, AVX2) is None
    assert explain.failed_row(off, "int8", "cuda:0", backend, first, AVX2) is None


@pytest.mark.parametrize("figure", [np.nan, np.inf])
def test_sums_that_are_cut_off_are_finite(first: Artifact, figure: float) -> None:
    backend = backends.get("torchscript")
    text = explain.failed_row(figures(figure), "int8", "cpu", backend, first, AVX2)
    assert text is not None
    assert "stay finite" in text
    assert SUSPECT in text


@pytest.mark.parametrize("name", ["engine", "c", "reference"])
def test_what_keeps_to_the_definition_is_not_put_on_the_cpu(first: Artifact, name: str) -> None:
    text = explain.failed_row(figures(2.0), "int8", "cpu", backends.get(name), first, AVX2)
    assert text is not None
    assert f"{name} keeps to the definition on every CPU" in text
    assert SUSPECT in text


def test_the_edition_of_an_artifact(first: Artifact, second: Artifact) -> None:
    assert first.int8_edition == 1
    assert second.int8_edition == 2
    fp32 = Artifact(first.path, {**first.manifest, "precisions": ["fp32"]})
    assert fp32.int8_edition is None


def test_every_field_is_in_the_figures() -> None:
    assert set(AVX2.figures()) == {field.name for field in dataclasses.fields(cpu.Cpu)}
