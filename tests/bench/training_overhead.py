"""How much a training epoch costs beyond forward, backward and step, as a ratio in one run.

The loop of ``mnistkit train`` and a bare loop over the same batches take turns, slice by slice, so
that a noisy moment hits both. Target: at most 1.15.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from mnistkit.common.environment import environment
from mnistkit.data import sets as data
from mnistkit.nets import zoo
from mnistkit.nets.module import DigitNet
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import recipe_for
from mnistkit.training import devices
from mnistkit.training.distributed import ALONE
from mnistkit.training.loop import _Trainer
from mnistkit.training.optimizers import optimizers_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="base")
    parser.add_argument("--steps", type=int, default=40, help="steps in a slice")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    devices.choose("cpu", options.threads)

    train_set = data.load("auto", "train")
    recipe = recipe_for(options.net).replace(epochs=10**3)
    count = min(options.steps * recipe.batch_size, len(train_set))
    few = train_set.subset(torch.arange(count))
    config = RunConfig(zoo.get(options.net), recipe, train_set.name, seed=0)
    trainer = _Trainer(config, few, Path(tempfile.mkdtemp()), torch.device("cpu"), ALONE)

    net = DigitNet(config.spec).to(memory_format=torch.channels_last)
    (optimizer,) = optimizers_for(net, recipe)
    batches = [
        (
            (few.images[rows].float() / 255).contiguous(memory_format=torch.channels_last),
            few.labels[rows],
        )
        for rows in torch.arange(count).split(recipe.batch_size)
        if len(rows) == recipe.batch_size
    ]

    def bare() -> None:
        net.train()
        for images, labels in batches:
            loss = F.cross_entropy(net(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def ours() -> None:
        trainer.run_epoch(lambda state: None)

    ours(), bare()  # warm-up
    ratios = []
    for _ in range(options.rounds):
        times = []
        for call in (bare, ours, ours, bare):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        ratios.append((times[1] + times[2]) / (times[0] + times[3]))
    figures = {
        "environment": environment("torch"),
        "net": options.net,
        "batch_size": recipe.batch_size,
        "steps": len(batches),
        "threads": options.threads,
        "ratio_median": statistics.median(ratios),
        "ratios": ratios,
    }
    print(
        f"{options.net}, batch {recipe.batch_size}, {len(batches)} steps a slice: "
        f"{figures['ratio_median']:.3f} times a bare loop (min {min(ratios):.3f}, "
        f"max {max(ratios):.3f}, {len(ratios)} rounds)"
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
