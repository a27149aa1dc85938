"""Pictures of a finished run: its curves, what it confuses, and the images it gets wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnistkit.common.paths import replacing
from mnistkit.data.sets import ImageSet
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.runs import checkpoint
from mnistkit.runs.source import load_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES, CONFUSION, MISTAKES = "curves.png", "confusion.png", "mistakes.png"
_GALLERY = 60


def write_plots(run: Path, test_set: ImageSet) -> list[Path]:
    """Write the three PNG files into the run's folder and return their paths."""
    import matplotlib

    matplotlib.use("Agg")
    net = DeployNet(load_run(run).graph())
    with torch.inference_mode():
        parts = torch.split(test_set.images, 1000)
        answers = torch.cat([net(part).softmax(1) for part in parts])
    lines = (run / checkpoint.METRICS).read_text().splitlines()
    made = {
        CURVES: _curves([json.loads(line) for line in lines]),
        CONFUSION: _confusion(answers.argmax(1), test_set),
        MISTAKES: _mistakes(answers, test_set),
    }
    return [_save(figure, run / name) for name, figure in made.items()]


def _save(figure: Figure, path: Path) -> Path:
    import matplotlib.pyplot as plt

    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
    return path


def _curves(records: list[dict[str, Any]]) -> Figure:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    epochs = [record["epoch"] for record in records]
    left.semilogy(epochs, [record["loss"] for record in records], label="training, distorted")
    if "hold_out_loss" in records[-1]:
        left.semilogy(epochs, [record["hold_out_loss"] for record in records], label="hold-out")
    left.set(xlabel="epoch", ylabel="cross-entropy, nats", title="loss")
    left.legend()
    right.plot(epochs, [record["lr"] for record in records], color="tab:green")
    right.set(xlabel="epoch", title="learning rate at the epoch's end")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def _confusion(answers: torch.Tensor, digits: ImageSet) -> Figure:
    import matplotlib.pyplot as plt

    counts = torch.zeros(10, 10, dtype=torch.int64)
    counts.index_put_((digits.labels, answers), torch.tensor(1), accumulate=True)
    wrong = counts - torch.diag(counts.diag())
    figure, axes = plt.subplots(figsize=(6, 5.5), constrained_layout=True)
    axes.imshow(wrong, cmap="Reds", vmax=max(int(wrong.max()), 1))
    for label in range(10):
        for answer in range(10):
            if counts[label, answer]:
                axes.text(answer, label, str(int(counts[label, answer])), ha="center", va="center")
    axes.set(xticks=range(10), yticks=range(10), xlabel="answer", ylabel="label")
    axes.set_title(f"{int(wrong.sum())} of {len(digits):,} wrong")
    return figure


def _mistakes(answers: torch.Tensor, digits: ImageSet) -> Figure:
    """The wrong answers, the surest first."""
    import matplotlib.pyplot as plt

    sure, answer = answers.max(1)
    wrong = torch.nonzero(answer != digits.labels).flatten()
    wrong = wrong[sure[wrong].argsort(descending=True)][:_GALLERY]
    columns = 10
    rows = max(1, -(-len(wrong) // columns))
    figure, grid = plt.subplots(
        rows, columns, figsize=(11, 1.35 * rows + 0.5), squeeze=False, constrained_layout=True
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, wrong.tolist(), strict=False):
        axes.imshow(digits.images[index, 0], cmap="gray_r")
        says = f"{int(digits.labels[index])} read as {int(answer[index])}"
        axes.set_title(f"{says}\n#{index}, {float(sure[index]):.0%}", fontsize=7)
    figure.suptitle("wrong answers: label, answer, image, how sure", fontsize=10)
    return figure
