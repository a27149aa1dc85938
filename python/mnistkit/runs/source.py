"""Where a net comes from: a training run's folder or the name of a pretrained net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistkit.common.errors import MissingError, UsageError
from mnistkit.nets.spec import NetSpec
from mnistkit.runs import checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from mnistkit.nets.deploy import DeployGraph
    from mnistkit.runs.recipe import Recipe

PRETRAINED = Path(__file__).parents[1] / "pretrained"
RUNS = Path("runs")
INT8 = "int8.safetensors"  # beside the weights of a run that was quantized


@dataclass(frozen=True)
class Source:
    """A trained net: its spec, weights, and the figures that were measured of it."""

    name: str
    spec: NetSpec
    state: Mapping[str, Tensor]
    dataset: str
    summary: Mapping[str, Any]
    path: Path

    def graph(self) -> DeployGraph:
        """The folded deploy graph."""
        from mnistkit.nets.deploy import fold

        return fold(self.spec, self.state)

    def recipe(self) -> Recipe:
        """The recipe that the net was trained with."""
        return checkpoint.read_config(self.path).recipe

    @property
    def quantized(self) -> bool:
        """Whether an int8 net lies beside the weights."""
        return (self.path / INT8).is_file()


def pretrained_names() -> list[str]:
    """The nets whose weights come with the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


def newest_run(root: Path = RUNS) -> Path | None:
    """The run folder under ``root`` whose weights were written last, or None."""
    found = sorted(root.glob(f"*/{checkpoint.WEIGHTS}"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None


def resolve(run_or_name: str | None) -> Source:
    """Find a trained net: a run folder, a pretrained name, or None for the newest run or ``base``.

    Raises :class:`MissingError` where it is not there.
    """
    if run_or_name is None:
        run = newest_run()
        return load_run(run) if run else resolve("base")
    path = Path(run_or_name)
    if (path / checkpoint.CONFIG).is_file():
        return load_run(path)
    if run_or_name in pretrained_names():
        return pretrained(run_or_name)
    known = ", ".join(pretrained_names()) or "none"
    if path.exists():
        raise UsageError(f"{path} is not a training run (it has no {checkpoint.CONFIG})")
    raise MissingError(
        f"{run_or_name!r} is neither a training run's folder nor a pretrained net "
        f"(pretrained: {known}); train one with: mnistkit train --out runs/{path.name}"
    )


def pretrained(name: str) -> Source:
    """The package's own weights of a net; :class:`UsageError` where it has none of that name."""
    if name not in pretrained_names():
        raise UsageError(
            f"no pretrained net {name!r}; the package has: {', '.join(pretrained_names())}"
        )
    return load_run(PRETRAINED / name)


def load_run(path: Path) -> Source:
    """Read a run folder."""
    config = checkpoint.read_config(path)
    state = checkpoint.load_weights(path / checkpoint.WEIGHTS, config.spec)
    summary_file = path / checkpoint.SUMMARY
    summary = checkpoint.read_json(summary_file) if summary_file.is_file() else {}
    return Source(path.name, config.spec, state, config.dataset, summary, path)


def pretrained_accuracies() -> dict[str, float]:
    """MNIST test accuracy of each pretrained net, as its training run measured it."""
    return {
        name: checkpoint.read_json(PRETRAINED / name / checkpoint.SUMMARY)["test_accuracy"]
        for name in pretrained_names()
    }
