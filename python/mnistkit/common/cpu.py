"""What this CPU can do with int8: its instructions, and how products of int8 are added.

Linux tells by ``/proc/cpuinfo``. Where nothing tells, the answer is None and not a guess.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")

# Name in /proc/cpuinfo -> the name used here; those that have a dot product of int8 come last.
_X86 = {
    "sse4_1": "sse4.1",
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "amx_int8": "amx_int8",
}
_ARM = {"neon": "neon", "asimd": "asimd", "asimddp": "asimddp", "i8mm": "i8mm"}
_DOT_PRODUCTS = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")

# oneDNN, which computes int8 in PyTorch and in OpenVINO, is held to older instructions by these.
_HOLDS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_HELD_BELOW_DOT = ("SSE41", "AVX", "AVX2", "AVX512_CORE")


@dataclass(frozen=True)
class Cpu:
    """A CPU's int8 abilities.

    ``instructions`` are the instruction sets that matter for int8, oldest first.
    ``int8_dot_product`` says whether one of them adds products of int8 in 32 bits, and
    ``pairs_in_16_bits`` whether runtimes add two products in 16 bits here, which may saturate;
    None: not known. ``held_by`` is the environment variable, with its value, that holds runtimes
    to instructions without a dot product, or None. ``summary`` is one sentence.
    """

    architecture: str
    instructions: tuple[str, ...]
    int8_dot_product: bool | None
    pairs_in_16_bits: bool | None
    held_by: str | None
    summary: str

    def figures(self) -> dict[str, Any]:
        """The fields, for a figures file."""
        return {**asdict(self), "instructions": list(self.instructions)}

    @property
    def label(self) -> str:
        """The architecture and the instructions, for the inside of a sentence."""
        return f"{self.architecture}: {', '.join(self.instructions) or 'instructions not known'}"


def this_cpu() -> Cpu:
    """The CPU that this process runs on; never an error."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    return describe(text, platform.machine(), os.environ)


def describe(cpuinfo: str, machine: str, environment: Mapping[str, str]) -> Cpu:
    """The abilities that the text of a ``/proc/cpuinfo`` tells of.

    Args:
        cpuinfo: the whole text; anything else, also none, gives an answer that knows nothing.
        machine: the architecture as ``uname -m`` names it.
        environment: the variables that may hold a runtime to older instructions.
    """
    names = {**_X86, **_ARM}
    flags = _flags(cpuinfo)
    found = tuple(name for flag, name in names.items() if flag in flags)
    architecture = machine.lower() or "unknown"
    if not flags or not (found or _is_x86(architecture)):
        text = "its int8 instructions are not known here"
        return Cpu(architecture, found, None, None, None, text)
    dots = [name for name in found if name in _DOT_PRODUCTS]
    if not _is_x86(architecture):
        text = "NEON without a dot product: products are widened before they are added"
        if dots:
            text = f"an int8 dot product ({', '.join(dots)}): products are added in 32 bits"
        return Cpu(architecture, found, bool(dots), False, None, text)
    pairs = "pairs of int8 products are added in 16 bits"
    held = _held_by(environment) if dots else None
    if held:
        text = (
            f"an int8 dot product ({', '.join(dots)}), but {held} holds runtimes to less: {pairs}"
        )
    elif dots:
        text = f"an int8 dot product ({', '.join(dots)}): products are added in 32 bits"
    else:
        text = f"{_best_of(found)}: {pairs}"
    return Cpu(architecture, found, bool(dots), bool(held or not dots), held, text)


def _best_of(found: tuple[str, ...]) -> str:
    if "avx512f" in found:
        return "AVX-512 without VNNI"
    if "avx2" in found:
        return "AVX2 alone"
    return "SSE4.1 alone" if "sse4.1" in found else "less than SSE4.1"


def _is_x86(architecture: str) -> bool:
    return architecture in ("x86_64", "amd64", "x86", "i386", "i486", "i586", "i686")


def _flags(cpuinfo: str) -> set[str]:
    """The flags that every core has."""
    cores = []
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() in ("flags", "Features"):
            cores.append(frozenset(value.split()))
    return set(frozenset.intersection(*cores)) if cores else set()


def _held_by(environment: Mapping[str, str]) -> str | None:
    for name in _HOLDS:
        value = environment.get(name, "")
        if value:  # the first one that is set is the one that oneDNN reads
            return f"{name}={value}" if value.upper() in _HELD_BELOW_DOT else None
    return None
