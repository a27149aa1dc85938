"""Editions of the int8 definition (``docs/explanations/int8.md``): a file's own, and its warning.

Edition 1 bounds each weight alone, so a runtime that adds two products in 16 bits may saturate on
a CPU without an int8 dot product. Edition 2 bounds pairs of weights, and nothing can saturate.
"""

from __future__ import annotations

import warnings
from typing import Any

from mnistkit.common.errors import ArtifactError

EDITION = 2
REMEDY = (
    "make it again with: mnistkit quantize RUN --out RUN-int8, then mnistkit export RUN-int8 "
    "--out DIR --force (RUN is the training run's folder, or the name of a pretrained net)"
)


class EditionWarning(UserWarning):
    """An int8 net of an older edition was opened: it works, but not alike on every CPU."""


def check_edition(edition: Any, what: str) -> None:
    """Warn where the int8 net ``what`` is of an older edition.

    Raises :class:`ArtifactError` where it is none that this version knows.
    """
    if type(edition) is not int or edition < 1:
        raise ArtifactError(f"{what}: int8 edition {edition!r}, wanted 1 to {EDITION}; {REMEDY}")
    if edition > EDITION:
        raise ArtifactError(
            f"{what}: int8 edition {edition}, this mnistkit knows up to {EDITION}; upgrade "
            f"mnistkit, or {REMEDY}"
        )
    if edition < EDITION:
        warnings.warn(
            f"{what}: an int8 net of edition {edition}. On a CPU without an int8 dot product "
            f"some runtimes saturate and give other digits; {REMEDY}",
            EditionWarning,
            stacklevel=3,
        )
