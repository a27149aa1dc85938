"""Reading pictures of digits with an exported or a trained net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit import backends
from mnistkit.artifact.folder import MANIFEST, Artifact
from mnistkit.backends.base import Predictor
from mnistkit.common.errors import CheckError, InputError, UsageError
from mnistkit.pictures.preprocess import read_images
from mnistkit.pictures.reading import Reading, Unread

_NAMED = 5  # files that the last message names


def predict_files(predictor: Predictor, files: Sequence[Path]) -> Iterator[list[Reading | Unread]]:
    """Yield the readings of each file in turn; one that cannot be read does not stop the others."""
    for file in files:
        try:
            images = np.asarray(read_images(file))
        except InputError as error:
            yield [Unread(str(file), str(error))]
            continue
        yield [
            Reading(
                str(file),
                index,
                int(probabilities.argmax()),
                float(probabilities.max()),
                tuple(float(p) for p in probabilities),
            )
            for index, probabilities in enumerate(softmax(predictor.logits(images)))
        ]


def check_read(records: Sequence[Reading | Unread]) -> None:
    """Refuse records with errors.

    Raises :class:`CheckError` where some files were read and others not, :class:`InputError` where
    none was.
    """
    failed = [record for record in records if isinstance(record, Unread)]
    if not failed:
        return
    if len(records) == 1:
        raise InputError(failed[0].error)
    files = len({record.file for record in records})
    names = ", ".join(record.file for record in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    said = f"{len(failed)} of {files} files could not be read: {names}{more}"
    raise InputError(said) if len(failed) == len(records) else CheckError(said)


def is_artifact(name: str | None) -> bool:
    """Whether this names an artifact folder, and not a run or a pretrained net."""
    return name is not None and (Path(name) / MANIFEST).is_file()


def open_model(name: str | None, backend: str, precision: str, device: str = "cpu") -> Predictor:
    """Open an artifact folder in ``backend``, or a run or pretrained net in eager PyTorch."""
    if name is not None and is_artifact(name):
        artifact = Artifact.open(Path(name))
        return backends.require(backend).load(artifact, precision, device)
    from mnistkit.backends.torch_common import TorchPredictor
    from mnistkit.common.devices import torch_device
    from mnistkit.nets.deploy_module import DeployNet
    from mnistkit.runs.source import resolve

    if (backend, precision) != ("eager", "fp32"):
        raise UsageError(
            f"{name or 'a training run'} is not an artifact folder, which --backend {backend} "
            f"--precision {precision} reads; make one with: mnistkit export {name or ''} --out out"
        )
    module = DeployNet(resolve(name).graph()).to(torch_device(device))
    return TorchPredictor(module, device, threads=0)


def softmax(logits: Any) -> Any:
    """Probabilities ``(N, 10)`` of logits ``(N, 10)``."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
