"""Reading pictures of digits with an exported or a trained net."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnistkit import backends
from mnistkit.artifact import MANIFEST, Artifact
from mnistkit.backends.base import Predictor
from mnistkit.errors import UsageError
from mnistkit.preprocess import read_images


def predict_files(predictor: Predictor, files: Sequence[Path]) -> Iterable[dict[str, Any]]:
    """Yield one record per picture: ``file, index, digit, confidence, probabilities``."""
    for file in files:
        images = np.asarray(read_images(file))
        for index, probabilities in enumerate(softmax(predictor.logits(images))):
            digit = int(probabilities.argmax())
            yield {
                "file": str(file),
                "index": index,
                "digit": digit,
                "confidence": float(probabilities[digit]),
                "probabilities": [round(float(p), 6) for p in probabilities],
            }


def open_model(name: str | None, backend: str, precision: str, device: str = "cpu") -> Predictor:
    """Open an artifact folder in ``backend``, or a run or pretrained net in eager PyTorch."""
    if name is not None and (Path(name) / MANIFEST).is_file():
        artifact = Artifact.open(Path(name))
        return backends.require(backend).load(artifact, precision, device)
    from mnistkit.backends.torch_common import TorchPredictor, torch_device
    from mnistkit.nets.deploy_module import DeployNet
    from mnistkit.source import resolve

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
