"""``mnistkit quantize``: from a trained net to a run folder that holds its int8 net too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mnistkit.common.environment import versions
from mnistkit.common.errors import UsageError
from mnistkit.common.paths import write_bytes
from mnistkit.data.sets import ImageSet
from mnistkit.nets.deploy import DeployGraph
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.quantization import calibration, qat, reference, store
from mnistkit.quantization.graph import Int8Graph, quantize
from mnistkit.quantization.layers import LayerFigures, layer_figures
from mnistkit.runs import checkpoint
from mnistkit.runs.source import INT8, Source

METHODS = ("ptq", "qat")


@dataclass(frozen=True)
class Quantized:
    """The int8 net, the float graph whose rendering it is, its origin, and figures per layer."""

    int8: Int8Graph
    graph: DeployGraph
    origin: dict[str, Any]
    layers: list[LayerFigures]


def quantize_source(
    source: Source,
    train_set: ImageSet,
    *,
    method: str = "ptq",
    calibrate: str = "mse",
    images: int = 1024,
    seed: int = 0,
    settings: qat.QatSettings | None = None,
    on_step: qat.ProgressHook | None = None,
) -> Quantized:
    """Calibrate on ``images`` training images, fine-tune for ``qat``, and quantize."""
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    drawn = calibration.draw(train_set, images, seed)
    graph = source.graph()
    found = calibration.ranges(graph, drawn.images, calibrate)
    if method == "qat":
        settings = settings or qat.QatSettings()
        recipe = checkpoint.read_config(source.path).recipe
        graph = qat.fine_tune(graph, found, train_set, recipe, settings, seed=seed, on_step=on_step)
    int8 = quantize(graph, found)
    origin = {
        "method": method,
        "calibration": calibrate,
        **drawn.describe(),
        "qat": vars(settings) if method == "qat" and settings else None,
        "versions": versions("torch", "numpy"),
    }
    return Quantized(int8, graph, origin, layer_figures(graph, int8, drawn.images[:256]))


@dataclass(frozen=True)
class QuantizationSummary:
    """The int8 net's figures beside its fp32 self's, over one test set."""

    net: str
    dataset: str
    test_correct: int
    test_total: int
    test_accuracy: float
    fp32_test_correct: int
    fp32_test_accuracy: float
    agreement: float  # share of the images on which both say the same digit
    origin: dict[str, Any]  # how the int8 net was made
    layers: list[LayerFigures]

    def to_json(self) -> dict[str, Any]:
        """What ``quantize --json`` writes."""
        return vars(self) | {"layers": [vars(layer) for layer in self.layers]}


def summarize(source: Source, made: Quantized, test_set: ImageSet) -> QuantizationSummary:
    """Score int8 and fp32 on the test set."""
    images, labels = test_set.images.numpy(), test_set.labels.numpy()
    with torch.inference_mode():
        fp32 = DeployNet(source.graph())(test_set.images).numpy()
    int8 = reference.logits(made.int8, images)
    correct = int((int8.argmax(1) == labels).sum())
    return QuantizationSummary(
        net=source.spec.name,
        dataset=test_set.name,
        test_correct=correct,
        test_total=len(test_set),
        test_accuracy=correct / len(test_set),
        fp32_test_correct=int((fp32.argmax(1) == labels).sum()),
        fp32_test_accuracy=float((fp32.argmax(1) == labels).mean()),
        agreement=float((fp32.argmax(1) == int8.argmax(1)).mean()),
        origin=made.origin,
        layers=made.layers,
    )


def copy_run(source: Source, out: Path) -> None:
    """Copy the fp32 run's own files into the folder ``out``; nothing where it is the same."""
    for name in (checkpoint.CONFIG, checkpoint.WEIGHTS, checkpoint.SUMMARY, checkpoint.METRICS):
        if (source.path / name).is_file() and source.path.resolve() != out.resolve():
            write_bytes(out / name, (source.path / name).read_bytes())


def write_run(source: Source, made: Quantized, out: Path) -> None:
    """Write the run folder: the fp32 run's own files and, last, the int8 net."""
    copy_run(source, out)
    store.write(out / INT8, made.int8, made.origin)
