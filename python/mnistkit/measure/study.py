"""Many seeds of one net, and the pretrained weights that come of it.

    python -m mnistkit.measure.study base --seeds 10     # into docs/results/seeds-base.json
    python -m mnistkit.measure.study base --publish      # seed 0 into the package, with its card
    python -m mnistkit.measure.study base --quantize     # its int8 net and card made again

A study is the mean over its seeds at the last epoch; the test set is read once a run, at its end.
What is published is seed 0, named before any seed was trained, and not the best of them. Finished
seeds are not trained again, and an interrupted one is taken up where it stopped.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mnistkit.common.environment import environment
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.common.paths import write_text
from mnistkit.common.terminal import program
from mnistkit.data import sets as data
from mnistkit.nets import zoo
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.quantization.run import (
    METHODS,
    QuantizationSummary,
    quantize_source,
    summarize,
    write_run,
)
from mnistkit.runs import checkpoint
from mnistkit.runs.recipe import recipe_for
from mnistkit.runs.source import PRETRAINED, Source, load_run, pretrained
from mnistkit.training import devices, loop

RESULTS = Path("docs/results")
STUDIES = Path("runs/study")


def _figures_of(net: str) -> Path:
    return RESULTS / f"seeds-{net}.json"


def train_seed(net: str, seed: int, data_dir: Path | None) -> dict[str, Any]:
    """Train one seed of a net by its recipe, unless that is done; return its summary."""
    run = STUDIES / net / f"seed{seed}"
    summary = run / checkpoint.SUMMARY
    config = checkpoint.RunConfig(zoo.get(net), recipe_for(net), "mnist", seed)
    if summary.is_file():
        if differing := checkpoint.read_config(run).differing(config):
            raise ArtifactError(f"{run} was trained with {differing}; move it away")
        found: dict[str, Any] = checkpoint.read_json(summary)
        if not found["interrupted"]:
            return found
    return loop.train(
        config,
        data.load("mnist", "train", data_dir),
        data.load("mnist", "test", data_dir),
        run,
        resume=(run / checkpoint.CONFIG).is_file(),
        on_epoch=lambda record: print(f"{net} seed {seed}: {record}", flush=True),
    )


def report(net: str, summaries: list[dict[str, Any]], seeds: int) -> Path:
    """Write the study's figures to ``docs/results/seeds-NET.json`` and return its path."""
    spec = zoo.get(net)
    rows = [
        {key: s[key] for key in ("seed", "test_correct", "test_total", "seconds")}
        for s in summaries
    ]
    accuracies = [row["test_correct"] / row["test_total"] for row in rows]
    figures = {
        "net": net,
        "params": spec.params,
        "multiply_adds": spec.multiply_adds,
        "epochs": recipe_for(net).epochs,
        "dataset": "mnist",
        "command": f"python -m mnistkit.measure.study {net} --seeds {seeds}",
        "recipe": recipe_for(net).to_dict(),
        **environment("torch"),
        "rows": rows,
        "mean_accuracy": statistics.fmean(accuracies),
        "std_accuracy": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "min_accuracy": min(accuracies),
    }
    path = _figures_of(net)
    checkpoint.write_json(path, figures)
    return path


def finished_run(net: str) -> Source:
    """Seed 0 of a net's study; :class:`MissingError` where it is not trained to its end."""
    run = load_run(STUDIES / net / "seed0")
    if not run.summary or run.summary["interrupted"]:
        raise MissingError(f"{run.path} is not finished; train it first with --seeds 1")
    return run


def publish(run: Source, data_dir: Path | None, method: str) -> Path:
    """Quantize a trained net and put it, its int8 net and its card into the package."""
    net = run.spec.name
    train_set = data.load("mnist", "train", data_dir)
    test_set = data.load("mnist", "test", data_dir)
    made = quantize_source(run, train_set, method=method)
    folder = PRETRAINED / net
    write_run(run, made, folder)
    figures = summarize(run, made, test_set)
    with torch.inference_mode():
        answers = DeployNet(run.graph())(test_set.images).argmax(1)
    missed = torch.nonzero(answers != test_set.labels).flatten().tolist()
    write_text(folder / "README.md", card(run.summary, figures, missed))
    return folder


def _mean(net: str) -> str:
    """A sentence about the net's study, where there is one."""
    path = _figures_of(net)
    if not path.is_file():
        return ""
    study = checkpoint.read_json(path)
    if len(study["rows"]) == 1:
        return ""
    return (
        f" Over {len(study['rows'])} seeds the mean is {study['mean_accuracy']:.3%}, the standard "
        f"deviation {study['std_accuracy']:.3%}, the least {study['min_accuracy']:.2%}."
    )


def card(summary: Mapping[str, Any], int8: QuantizationSummary, missed: list[int]) -> str:
    """The card of a pretrained net, as Markdown."""
    spec = zoo.get(summary["net"])
    recipe = recipe_for(spec.name)
    settings = recipe.to_dict()
    del settings["distill"], settings["temperature"]  # no net of the package had a teacher
    shown = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    images = ", ".join(map(str, missed))
    return f"""# {spec.name}

{spec.description[0].upper()}{spec.description[1:]}. {spec.params:,} parameters, \
{spec.multiply_adds:,} multiply-adds an image.

- **Data**: MNIST's 60,000 training images; the 10,000 test images were read once, after the last
  epoch.
- **Recipe**: {shown}.
- **Seed** {summary["seed"]}, named beforehand; {summary["epochs"]} epochs.{_mean(spec.name)}
- **Accuracy**: fp32 {summary["test_correct"]}/{summary["test_total"]} \
({summary["test_accuracy"]:.2%}), int8 {int8.test_correct}/{int8.test_total} \
({int8.test_accuracy:.2%}, {int8.origin["method"]}, \
{int8.origin["images"]} calibration images).
- **Misses** ({len(missed)} test images, by index): {images}. Several of MNIST's test labels are
  wrong or in doubt (Northcutt et al. 2021): a net without misses would have learned mistakes.
- **Limits**: single digits, upright, centred and scaled as MNIST's are (`mnistkit predict` does
  that to pictures). Anything else still gets a digit, often with high confidence.
- **Again**: `python -m mnistkit.measure.study {spec.name} --seeds 1 --publish`
"""


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("net", choices=sorted(zoo.ZOO))
    parser.add_argument("--seeds", type=int, default=0, help="train that many seeds, from 0")
    parser.add_argument("--first", type=int, default=0, help="begin there; writes no figures")
    parser.add_argument("--publish", action="store_true", help="put seed 0 into the package")
    parser.add_argument(
        "--quantize", action="store_true", help="make the int8 net and card of the package again"
    )
    parser.add_argument("--method", default="qat", choices=METHODS, help="of int8")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    devices.choose("cpu", options.threads)
    if options.seeds:
        seeds = range(options.first, options.first + options.seeds)
        summaries = [train_seed(options.net, seed, options.data_dir) for seed in seeds]
    if options.seeds and not options.first:
        print(report(options.net, summaries, options.seeds))
    if options.publish or options.quantize:
        run = finished_run(options.net) if options.publish else pretrained(options.net)
        print(publish(run, options.data_dir, options.method))


if __name__ == "__main__":
    program(main)
