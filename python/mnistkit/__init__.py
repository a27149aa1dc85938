"""mnistkit: train, quantize, export and deploy small MNIST nets, with proof that they agree.

>>> import mnistkit
>>> predictor = mnistkit.load("out", backend="onnxruntime")          # doctest: +SKIP
>>> predictor.logits(images)            # uint8 (N, 1, 28, 28) -> float32 (N, 10)  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnistkit.common.errors import (
    ArtifactError,
    CheckError,
    InputError,
    MissingError,
    MnistkitError,
    SpecError,
    UsageError,
)

if TYPE_CHECKING:
    from mnistkit.backends.base import Predictor

__version__ = "0.1.0"


def load(
    artifact: str | Path,
    backend: str = "onnxruntime",
    precision: str = "fp32",
    device: str = "cpu",
    threads: int = 0,
    *,
    check: bool = True,
) -> Predictor:
    """Load an artifact folder into a runtime and return its predictor.

    ``threads`` is a number of CPU threads; 0 leaves the choice to the runtime. ``check`` False
    leaves out the golden digits, not the hashes.

    Raises :class:`MissingError` where the backend is not available, :class:`ArtifactError` where
    a file is damaged, :class:`CheckError` where the golden digits come out wrong,
    :class:`UsageError` for an unknown backend or a number of threads that
    nobody can mean.
    """
    from mnistkit import backends
    from mnistkit.artifact.folder import Artifact
    from mnistkit.common.threads import check_threads

    check_threads(threads)
    runtime = backends.require(backend)
    return runtime.load(Artifact.open(Path(artifact)), precision, device, threads, check=check)


__all__ = [
    "ArtifactError",
    "CheckError",
    "InputError",
    "MissingError",
    "MnistkitError",
    "SpecError",
    "UsageError",
    "__version__",
    "load",
]
