"""From nothing to an int8 net: what ``mnistkit train`` and ``mnistkit quantize`` do, as calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnistkit.data import sets
from mnistkit.nets.spec import NetSpec
from mnistkit.quantization.qat import QatSettings
from mnistkit.quantization.run import (
    QuantizationSummary,
    quantize_source,
    summarize,
    write_run,
)
from mnistkit.runs import settings
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import Recipe, recipe_for
from mnistkit.runs.source import Source, resolve
from mnistkit.runs.summary import RunSummary
from mnistkit.training import devices, loop


def train(
    net: str | NetSpec = "base",
    *,
    dataset: str = "auto",
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    seed: int = 0,
    hold_out: int = 0,
    teacher: str | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    threads: int = 0,
    resume: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> RunSummary:
    """Train a net into a run folder, and score it once on the test set.

    Args:
        net: the name of a net of the zoo, or a spec of your own.
        dataset: a data set's name; ``auto`` is MNIST, else scikit-learn's digits with a warning.
        out: the run's folder; ``runs/NET-seedN`` where it is left out.
        recipe: all settings of training; the net's own where it is left out.
        epochs: in place of the recipe's.
        seed: of the weights, the order and the distortions.
        hold_out: training images that are kept back and scored each epoch.
        teacher: a run or pretrained net to distil from.
        data_dir: where the data is looked for, and nowhere else.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads; 0 leaves the choice to PyTorch.
        resume: go on with the run in ``out``.
        on_epoch: called with the figures of each epoch.

    Raises:
        UsageError: an unknown name, a setting out of its range, a folder with a run already.
        MissingError: the data set or the device is not there.
        CheckError: the loss became infinite or nan.

    >>> import mnistkit
    >>> summary = mnistkit.train("nano", dataset="digits", epochs=1, out="runs/a")
    >>> 0 < summary.test_accuracy <= 1
    True
    """
    spec = settings.run_config({"net": net} if isinstance(net, str) else {}, {}, {}).spec
    spec = spec if isinstance(net, str) else net
    chosen = recipe or recipe_for(spec.name)
    if epochs is not None:
        chosen = chosen.replace(epochs=epochs)
    place = devices.choose(device, threads)
    folder = None if data_dir is None else Path(data_dir)
    train_set = sets.load(dataset, "train", folder)
    test_set = sets.load(train_set.name, "test", folder)
    config = RunConfig(spec, chosen, train_set.name, seed, hold_out, teacher)
    run = Path(out) if out is not None else Path("runs") / f"{spec.name}-seed{seed}"
    figures = loop.train(
        config, train_set, test_set, run, device=place, resume=resume, on_epoch=on_epoch
    )
    return RunSummary.of(run, figures)


def quantize(
    source: str | Path | Source | None = None,
    *,
    out: str | Path | None = None,
    method: str = "ptq",
    dataset: str | None = None,
    images: int = 1024,
    epochs: int = 2,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> QuantizationSummary:
    """Make the int8 net of a trained net, into a run folder that holds both.

    Args:
        source: a run's folder or a pretrained net; None is the newest run, else ``base``.
        out: the new run's folder; the run's own name with ``-int8`` where it is left out.
        method: ``ptq`` calibrates; ``qat`` fine-tunes the weights as well.
        dataset: in place of the one that the net was trained on.
        images: training images for the calibration.
        epochs: of fine-tuning, for ``qat``.
        seed: of the draw of images.
        data_dir: where the data is looked for, and nowhere else.

    Raises:
        UsageError: an unknown method or data set.
        MissingError: the net or the data is not there.

    >>> import mnistkit
    >>> made = mnistkit.quantize("nano", dataset="digits", out="runs/nano-int8")
    >>> made.net, made.test_total
    ('nano', 497)
    """
    devices.choose("cpu")
    net = source if isinstance(source, Source) else resolve(None if source is None else str(source))
    folder = None if data_dir is None else Path(data_dir)
    train_set = sets.load(dataset or net.dataset, "train", folder)
    test_set = sets.load(train_set.name, "test", folder)
    made = quantize_source(
        net,
        train_set,
        method=method,
        images=images,
        seed=seed,
        settings=QatSettings(epochs=epochs),
    )
    run = Path(out) if out is not None else Path("runs") / f"{net.path.name}-int8"
    write_run(net, made, run)
    return summarize(net, made, test_set)
