"""The check of a predictor that was just loaded, with the golden digits of its artifact."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from mnistkit.errors import CheckError

if TYPE_CHECKING:
    from mnistkit.artifact import Artifact
    from mnistkit.backends.base import Predictor
    from mnistkit.backends.tolerances import Tolerance


class UncheckedWarning(UserWarning):
    """A model was loaded that its artifact, of an older schema, has no golden logits for."""


def check(
    predictor: Predictor, artifact: Artifact, backend: str, precision: str, tolerance: Tolerance
) -> None:
    """Run the golden digits and compare their logits with the reference's.

    Warns with :class:`UncheckedWarning` where an artifact of schema 1 has none for that precision.

    Raises :class:`CheckError` where a logit is farther away than the tolerance allows,
    :class:`ArtifactError` where the golden digits themselves are damaged.
    """
    golden = artifact.golden()
    reference = golden.reference(precision)
    if reference is None:
        warnings.warn(
            f"{artifact.path}: {precision} is loaded unchecked: {artifact.lacks}",
            UncheckedWarning,
            stacklevel=4,
        )
        return
    difference = np.abs(predictor.logits(golden.images) - reference).max(1)
    worst = int(np.nan_to_num(difference, nan=math.inf).argmax())
    if not difference[worst] <= tolerance.max_abs_diff:
        raise CheckError(
            f"{artifact.path}: {backend} {precision} fails its self-check: a logit of golden digit "
            f"{worst} is {difference[worst]:.3g} from the reference, "
            f"{tolerance.max_abs_diff:g} is allowed. The model was altered, or this runtime "
            f"computes something else; see: mnistkit verify {artifact.path}"
        )
