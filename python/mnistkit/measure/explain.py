"""Why an int8 net gives wrong digits here, and what to do: the tail of a failed row's reason.

Where a CPU has no int8 dot product, runtimes add the products of two neighbours in 16 bits, and a
sum beyond 32,767 is cut off. The int8 definition's second edition has weights that cannot reach it;
the first edition's can (docs/guides/verify.md).
"""

from __future__ import annotations

import math

from mnistkit.artifact.edition import REMEDY
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend
from mnistkit.common.cpu import Cpu
from mnistkit.common.errors import ArtifactError, CheckError, MnistkitError
from mnistkit.measure.rows import Figures

_SUSPECT = (
    "suspect the file or the runtime: export again (mnistkit export RUN --out DIR --force); if it "
    "still fails, compare the versions in manifest.json with those of mnistkit doctor, and report "
    "it"
)


def failed_row(
    figures: Figures, precision: str, device: str, backend: Backend, artifact: Artifact, cpu: Cpu
) -> str | None:
    """The explanation of figures of ``verify`` that are outside their tolerance, or None."""
    finite = math.isfinite(figures.max_abs_diff)
    return _explanation(precision, device, backend, artifact, cpu, finite=finite)


def failed_load(
    error: Exception, precision: str, device: str, backend: Backend, artifact: Artifact, cpu: Cpu
) -> str | None:
    """The explanation of an error while loading or running, or None.

    A self-check that fails has the CPU for a likely cause. A damaged file has not: its error
    says what is wrong with it.
    """
    if not isinstance(error, CheckError) or isinstance(error, ArtifactError):
        return None
    return _explanation(precision, device, backend, artifact, cpu, finite=True)


def told(error: Exception) -> str:
    """The error's text; one that is not of this package is named by its kind."""
    return str(error) if isinstance(error, MnistkitError) else f"{type(error).__name__}: {error}"


def joined(reason: str, explanation: str | None) -> str:
    """The reason, and behind it the explanation where there is one."""
    return f"{reason}; {explanation}" if explanation else reason


def _explanation(
    precision: str, device: str, backend: Backend, artifact: Artifact, cpu: Cpu, *, finite: bool
) -> str | None:
    edition = artifact.int8_edition
    if precision != "int8" or device != "cpu" or edition is None:
        return None
    here = f"this CPU ({cpu.label})"
    if backend.int8_is_exact:
        return f"{here}; {backend.name} keeps to the definition on every CPU, so {_SUSPECT}"
    if not finite:
        return f"{here}; sums that are cut off stay finite, so {_SUSPECT}"
    if edition >= 2:
        return (
            f"{here}: {cpu.summary}; the int8 net is of edition {edition}, whose weights cannot "
            f"exceed 16 bits in pairs, so {_SUSPECT}"
        )
    first = "the int8 net is of the first edition"
    if cpu.pairs_in_16_bits:
        how = f"held to it by {cpu.held_by}" if cpu.held_by else _without(cpu)
        return (
            f"{here} adds pairs of products in 16 bits ({how}), and {first}, whose weights may "
            f"exceed them; {REMEDY}"
        )
    return (
        f"{here}: {cpu.summary}; {first}, whose weights may exceed 16 bits where a runtime adds "
        f"pairs of products in them; {REMEDY}; if it still fails, {_SUSPECT}"
    )


def _without(cpu: Cpu) -> str:
    best = "AVX-512" if "avx512f" in cpu.instructions else "AVX2"
    return f"{best if 'avx2' in cpu.instructions else 'SSE'} without VNNI"
