"""``mnistkit train``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from mnistkit.cli.common import (
    DataDirOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
    VerboseOption,
    session,
)
from mnistkit.common.errors import MissingError, UsageError

_BUDGETS = "Budgets"


def train(
    net: Annotated[
        str | None, typer.Option(help="A net of the zoo, default base: see 'mnistkit nets'.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/NET-seedN.")] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings as JSON, for example a run's config.json; options override it.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="auto (the default: mnist, or digits where MNIST cannot be found), mnist, qmnist, "
            "emnist-digits, usps, fashion, kmnist or digits (no download)."
        ),
    ] = None,
    data_dir: DataDirOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of every random draw; default 0.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; the net's recipe.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    hold_out: Annotated[
        int | None,
        typer.Option(min=0, help="Keep back the last N training images and score them each epoch."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="A run folder or pretrained net whose answers to learn from too."),
    ] = None,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Multiply in bfloat16.")
    ] = False,
    max_params: Annotated[
        int | None,
        typer.Option(rich_help_panel=_BUDGETS, help="Refuse a net with more parameters."),
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option(rich_help_panel=_BUDGETS, help="Refuse more epochs.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: ThreadsOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write events into the run folder too.")
    ] = False,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a net and measure it once on the test set.

    Under torchrun, several processes or machines share the work.

    Examples:
      mnistkit train --seed 0 --out runs/a

      mnistkit train --net small --max-params 10000 --max-epochs 19 --hold-out 10000

      mnistkit train --config runs/a/config.json --seed 1 --out runs/b

      torchrun --nproc-per-node 2 -m mnistkit train --net small --out runs/c
    """
    from mnistkit.training import distributed

    workers = distributed.from_environment()
    with session(quiet or not workers.first, verbose) as console:
        from mnistkit.data import sets as data
        from mnistkit.runs import checkpoint, settings
        from mnistkit.training import devices, loop

        config = settings.run_config(
            settings.read(config_file) if config_file else {},
            {
                "net": net,
                "dataset": dataset,
                "seed": seed,
                "hold_out": hold_out,
                "teacher": teacher,
            },
            {
                "epochs": epochs,
                "batch_size": batch_size,
                "peak_lr": lr,
                "mixed_precision": mixed_precision or None,
            },
        )
        settings.check_budget(config, max_params, max_epochs)
        place = devices.choose(device, threads, workers.local_rank)
        train_set = data.load(config.dataset, "train", data_dir)
        test_set = data.load(train_set.name, "test", data_dir)
        config = config.on(train_set.name)
        spec, recipe = config.spec, config.recipe
        run = out or Path("runs") / f"{spec.name}-seed{config.seed}"
        several = f", {workers.count} processes" if workers.count > 1 else ""
        console.note(
            f"training {spec.name} ({spec.params:,} parameters) on {train_set.name}: "
            f"{len(train_set):,} images, {recipe.epochs} epochs{several}, into {run}"
        )
        with (
            console.training_bar(recipe.epochs) as bar,
            _events(run if tensorboard and workers.first else None) as write_events,
        ):

            def on_epoch(record: dict[str, Any]) -> None:
                bar.epoch(record)
                write_events(record)

            summary = loop.train(
                config,
                train_set,
                test_set,
                run,
                device=place,
                resume=resume,
                workers=workers,
                on_step=bar.step,
                on_epoch=on_epoch,
            )
        if not workers.first:
            return
        if json_file:
            checkpoint.write_json(json_file, summary)
        if not find_spec("matplotlib"):
            console.note("no plots: matplotlib is not installed (pip install mnistkit[plot])")
        elif summary["epochs"]:
            from mnistkit.training.plots import write_plots

            names = ", ".join(path.name for path in write_plots(run, test_set))
            console.note(f"plots in the run folder: {names}")
        console.result(
            f"{summary['dataset']} test accuracy {summary['test_accuracy']:.2%} "
            f"({summary['test_correct']}/{summary['test_total']}) after {summary['epochs']} epochs"
            f"{', interrupted' if summary['interrupted'] else ''}; run folder: {run}"
        )


@contextmanager
def _events(run: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes an epoch's record for TensorBoard; for None one that does not."""
    if run is None:
        yield lambda record: None
        return
    if not find_spec("tensorboard"):
        raise MissingError("--tensorboard: install it with: pip install tensorboard")
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is not a folder")
    from torch.utils.tensorboard import SummaryWriter

    with ExitStack() as stack:
        writer: SummaryWriter | None = None  # made by the first record: it makes the folder

        def write(record: dict[str, Any]) -> None:
            nonlocal writer
            if writer is None:
                writer = stack.enter_context(SummaryWriter(str(run / "tensorboard")))
            for name, value in record.items():
                if name != "epoch":
                    writer.add_scalar(name, value, record["epoch"])

        yield write
