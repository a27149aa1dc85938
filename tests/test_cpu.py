"""What is read from the /proc/cpuinfo of several CPUs; flags as Linux prints them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mnistkit.common import cpu

# Shortened to what tells CPUs apart and to a few flags whose names are alike.
NEHALEM = "fpu sse sse2 ht pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
HASWELL = f"{NEHALEM} fma movbe avx f16c rdrand bmi1 avx2 bmi2 erms"
ZEN3 = f"{HASWELL} sse4a misalignsse rdseed adx sha_ni vaes vpclmulqdq rdpid fsrm"
SKYLAKE_X = f"{HASWELL} avx512f avx512dq avx512cd avx512bw avx512vl"
ICE_LAKE = f"{SKYLAKE_X} avx512vbmi avx512_vbmi2 gfni avx512_vnni avx512_bitalg"
ALDER_LAKE = f"{HASWELL} gfni vaes avx_vnni serialize"
SAPPHIRE_RAPIDS = f"{ICE_LAKE} avx_vnni avx512_bf16 amx_bf16 amx_tile amx_int8"
ZEN5 = f"{ICE_LAKE} sse4a avx_vnni avx512_bf16 avx512_vp2intersect"
CORTEX_A72 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
NEOVERSE_N1 = f"{CORTEX_A72} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp ssbs"
NEOVERSE_V1 = f"{NEOVERSE_N1} sve svei8mm svebf16 i8mm bf16"
CORTEX_A15 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt"


def x86(flags: str, name: str = "a CPU") -> str:
    return f"processor\t: 0\nvendor_id\t: x\nmodel name\t: {name}\nflags\t\t: {flags}\nbugs\t\t:\n"


def arm(flags: str) -> str:
    return f"processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: {flags}\nCPU part\t: 0xd08\n"


@pytest.mark.parametrize(
    ("flags", "instructions", "dot", "summary"),
    [
        (NEHALEM, ["sse4.1"], False, "SSE4.1 alone: pairs of int8 products are added in 16 bits"),
        (HASWELL, ["sse4.1", "avx2"], False, "AVX2 alone: pairs of int8 products are added in 16"),
        (ZEN3, ["sse4.1", "avx2"], False, "AVX2 alone: pairs"),
        (SKYLAKE_X, ["sse4.1", "avx2", "avx512f"], False, "AVX-512 without VNNI: pairs"),
        (ICE_LAKE, ["sse4.1", "avx2", "avx512f", "avx512_vnni"], True, "(avx512_vnni): products"),
        (ALDER_LAKE, ["sse4.1", "avx2", "avx_vnni"], True, "(avx_vnni): products"),
        (
            SAPPHIRE_RAPIDS,
            ["sse4.1", "avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8"],
            True,
            "(avx_vnni, avx512_vnni, amx_int8): products are added in 32 bits",
        ),
        (
            ZEN5,
            ["sse4.1", "avx2", "avx512f", "avx_vnni", "avx512_vnni"],
            True,
            "(avx_vnni, avx512_vnni): products are added in 32 bits",
        ),
        ("fpu sse sse2", [], False, "less than SSE4.1: pairs"),
    ],
)
def test_x86(flags: str, instructions: list[str], dot: bool, summary: str) -> None:
    found = cpu.describe(x86(flags), "x86_64", {})
    assert found.figures()["instructions"] == instructions
    assert found.architecture == "x86_64"
    assert found.int8_dot_product is dot
    assert found.pairs_in_16_bits is not dot
    assert found.held_by is None
    assert summary in found.summary


@pytest.mark.parametrize(
    ("flags", "machine", "instructions", "dot"),
    [
        (CORTEX_A72, "aarch64", ("asimd",), False),
        (NEOVERSE_N1, "aarch64", ("asimd", "asimddp"), True),
        (NEOVERSE_V1, "aarch64", ("asimd", "asimddp", "i8mm"), True),
        (CORTEX_A15, "armv7l", ("neon",), False),
    ],
)
def test_arm(flags: str, machine: str, instructions: tuple[str, ...], dot: bool) -> None:
    found = cpu.describe(arm(flags), machine, {})
    assert found.instructions == instructions
    assert found.int8_dot_product is dot
    assert found.pairs_in_16_bits is False  # they are widened before they are added
    assert ("without a dot product" in found.summary) is not dot


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("", "x86_64"),
        ("", ""),
        ("no colon here\n: \nflags\n", "x86_64"),
        ("hart\t: 0\nisa\t: rv64imafdcv\n", "riscv64"),
        ("features\t: esan3 zarch vx vxd\n", "s390x"),
        (arm("fp"), "aarch64"),
        ("\0\N{REPLACEMENT CHARACTER}" * 100, "x86_64"),
    ],
)
def test_what_is_not_known_is_not_guessed(text: str, machine: str) -> None:
    found = cpu.describe(text, machine, {})
    assert found.instructions == ()
    assert found.int8_dot_product is None
    assert found.pairs_in_16_bits is None
    assert "not known" in found.summary
    assert "not known" in found.label


def test_what_one_core_lacks_the_cpu_lacks() -> None:
    found = cpu.describe(x86(ZEN5) + x86(ALDER_LAKE), "x86_64", {})
    assert found.instructions == ("sse4.1", "avx2", "avx_vnni")


@pytest.mark.parametrize(
    ("variables", "held_by"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "ONEDNN_MAX_CPU_ISA=AVX2"),
        ({"DNNL_MAX_CPU_ISA": "sse41"}, "DNNL_MAX_CPU_ISA=sse41"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "ONEDNN_MAX_CPU_ISA=AVX512_CORE"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, None),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI"}, None),
        ({"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, None),
        ({"ONEDNN_MAX_CPU_ISA": ""}, None),
    ],
)
def test_runtimes_may_be_held_to_less(variables: dict[str, str], held_by: str | None) -> None:
    found = cpu.describe(x86(ZEN5), "x86_64", variables)
    assert found.int8_dot_product is True
    assert found.held_by == held_by
    assert found.pairs_in_16_bits is (held_by is not None)
    assert held_by is None or held_by in found.summary
    # Where there is no dot product, nothing is held.
    assert cpu.describe(x86(ZEN3), "x86_64", variables).held_by is None


def test_this_cpu_is_told_without_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = cpu.this_cpu()
    assert here.architecture
    assert here.summary
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    assert cpu.this_cpu().int8_dot_product is None
    (tmp_path / "none").write_bytes(b"flags\t: \xff\xfe avx2\n")
    cpu.this_cpu()
