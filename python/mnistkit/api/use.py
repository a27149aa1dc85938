"""What is done with an exported net: ``load``, ``predict``, ``verify``, ``bench``, ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnistkit import backends
from mnistkit.api import predict as pictures
from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Predictor
from mnistkit.common.threads import check_threads
from mnistkit.data import sets
from mnistkit.data.sets import ImageSet
from mnistkit.measure import evaluation, latency, parity
from mnistkit.measure.evaluation import Evaluation
from mnistkit.measure.rows import BenchReport, VerifyReport
from mnistkit.pictures.reading import Reading, Unread


def load(
    artifact: str | Path | Artifact,
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

    Raises:
        MissingError: the backend is not available.
        ArtifactError: a file is damaged.
        CheckError: the golden digits come out wrong.
        UsageError: an unknown backend, or a number of threads that nobody can mean.

    >>> import mnistkit, numpy
    >>> artifact = mnistkit.export("nano", "out", formats=["onnx", "native"], force=True)
    >>> with mnistkit.load("out", backend="onnxruntime") as predictor:
    ...     predictor.logits(numpy.zeros((2, 1, 28, 28), numpy.uint8)).shape
    (2, 10)
    """
    check_threads(threads)
    return backends.require(backend).load(opened(artifact), precision, device, threads, check=check)


def predict(
    files: str | Path | Sequence[str | Path],
    model: str | Path | None = None,
    *,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
) -> list[Reading | Unread]:
    """Read pictures of digits: each file's readings, or why it was not read.

    Args:
        files: pictures of any common format, or MNIST's own files of images.
        model: an artifact folder, a run's folder or a pretrained net; None is the newest run,
            else ``base``.
        backend: of an artifact folder, ``onnxruntime`` where it is left out.
        precision: of an artifact folder.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        MissingError: the model or the backend is not there.
        UsageError: a backend or precision for a net that is not exported.

    >>> import mnistkit
    >>> (answer,) = mnistkit.predict("missing.png", "nano")
    >>> answer.error
    'missing.png: cannot be read (No such file ...
    """
    named = [files] if isinstance(files, str | Path) else files
    name = None if model is None else str(model)
    runtime = backend or ("onnxruntime" if pictures.is_artifact(name) else "eager")
    with pictures.open_model(name, runtime, precision, device) as predictor:
        found = pictures.predict_files(predictor, [Path(file) for file in named])
        return [reading for readings in found for reading in readings]


def verify(
    artifact: str | Path | Artifact,
    images: str | ImageSet | None = None,
    *,
    backends: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int = 0,
) -> VerifyReport:
    """Run every test image through every backend and precision, and compare with the reference.

    ``images`` is a data set's name or your own; None is the one that the net was trained on.
    ``report.passed`` is the verdict.

    Raises:
        MissingError: a backend that ``backends`` names is not there, or the data is not.
        ArtifactError: the folder is damaged.

    >>> import mnistkit
    >>> artifact = mnistkit.export("nano", "out", formats=["onnx", "native"], force=True)
    >>> report = mnistkit.verify("out", "digits", backends=["engine"], precisions=["int8"])
    >>> [(row.backend, row.precision, row.status) for row in report.rows]
    [('engine', 'int8', 'ok')]
    """
    folder = opened(artifact)
    return parity.verify(
        folder,
        image_set(images or folder.dataset),
        names=backends,
        precisions=precisions,
        device=device,
        threads=threads,
    )


def bench(
    artifact: str | Path | Artifact,
    *,
    backends: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    device: str = "cpu",
    threads: int = 1,
    batch_sizes: Sequence[int] = (1, 8, 64, 512),
    duration: float = 1.0,
    warmup: float = 0.2,
) -> BenchReport:
    """Time every backend, precision and batch size; ``duration`` and ``warmup`` in seconds a row.

    Raises:
        CheckError: one that ``backends`` names gives wrong answers.
        MissingError: nothing can be measured.

    >>> import mnistkit
    >>> artifact = mnistkit.export("nano", "out", formats=["onnx", "native"], force=True)
    >>> report = mnistkit.bench("out", backends=["engine"], batch_sizes=[1], duration=0.05)
    >>> {row.backend for row in report.rows}
    {'engine'}
    """
    return latency.bench(
        opened(artifact),
        names=backends,
        precisions=precisions,
        device=device,
        threads=threads,
        batch_sizes=batch_sizes,
        duration=duration,
        warmup=warmup,
    )


def evaluate(
    model: Predictor | str | Path | Artifact,
    images: str | ImageSet,
    *,
    backend: str = "onnxruntime",
    precision: str = "fp32",
) -> Evaluation:
    """Count the right answers of one model on one data set.

    ``model`` is a predictor, or an artifact folder that is opened in ``backend`` and
    ``precision``.

    >>> import mnistkit
    >>> artifact = mnistkit.export("nano", "out", formats=["onnx", "native"], force=True)
    >>> score = mnistkit.evaluate("out", "digits", backend="engine", precision="int8")
    >>> score.total, score.accuracy > 0.5
    (497, True)
    """
    data = image_set(images)
    if isinstance(model, Predictor):
        return evaluation.evaluate(model, data)
    with load(model, backend, precision) as predictor:
        return evaluation.evaluate(predictor, data)


def opened(artifact: str | Path | Artifact) -> Artifact:
    """The artifact folder, opened where it was given as a path."""
    return artifact if isinstance(artifact, Artifact) else Artifact.open(Path(artifact))


def image_set(images: str | ImageSet) -> ImageSet:
    """The images, or the test set of that name."""
    return images if isinstance(images, ImageSet) else sets.load(images, "test")
