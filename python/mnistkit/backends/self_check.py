"""The check of a predictor that was just loaded, with the golden digits of its artifact."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from mnistkit.common.errors import CheckError

if TYPE_CHECKING:
    from mnistkit.artifact.folder import Artifact
    from mnistkit.backends.base import Predictor
    from mnistkit.backends.tolerances import Tolerance


class UncheckedWarning(UserWarning):
    """A model was loaded that its artifact, of an older schema, has no golden logits for."""


def check(
    predictor: Predictor, artifact: Artifact, backend: str, precision: str, tolerance: Tolerance
) -> None:
    """Run the golden digits and compare their logits with the reference's.

    Warns with :class:`UncheckedWarning` where an artifact of schema 1 has none for that precision.

    Raises :class:`CheckError` where they are farther away than the tolerance allows,
    :class:`ArtifactError` where the golden digits themselves are damaged.
    """
    fault = golden_fault(predictor, artifact, precision, tolerance)
    if fault is not None:
        raise CheckError(
            f"{artifact.path}: {backend} {precision} fails its self-check with the golden digits: "
            f"{fault}. The model was altered, or this runtime computes something else; "
            f"see: mnistkit verify {artifact.path}"
        )


def golden_fault(
    predictor: Predictor, artifact: Artifact, precision: str, tolerance: Tolerance
) -> str | None:
    """What is wrong with the logits of the golden digits, or None.

    Warns and raises as :func:`check` does, but for :class:`CheckError`.
    """
    from mnistkit.backends.difference import difference_faults

    golden = artifact.golden()
    reference = golden.logits.get(precision)
    if reference is None:
        warnings.warn(
            f"{artifact.path}: {precision} is loaded unchecked: {artifact.lacks}",
            UncheckedWarning,
            stacklevel=5,
        )
        return None
    return (
        "; ".join(difference_faults(predictor.logits(golden.images), reference, tolerance)) or None
    )
