"""The run folder: configuration, weights and resume state as JSON and safetensors, never pickle.

config.json          net spec, recipe, dataset, seed: what the run is
weights.safetensors  the averaged weights, what is evaluated and exported
metrics.jsonl        one line an epoch
summary.json         the run's figures
state.safetensors    weights, average and momentum after the last whole epoch, to resume from
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.common.paths import write_bytes, write_text
from mnistkit.nets.spec import NetSpec
from mnistkit.runs.recipe import Recipe

CONFIG, WEIGHTS, METRICS, SUMMARY, STATE = (
    "config.json",
    "weights.safetensors",
    "metrics.jsonl",
    "summary.json",
    "state.safetensors",
)

_METADATA = "mnistkit"


@dataclass(frozen=True)
class RunConfig:
    """What a run is: equal configurations give equal runs on the same machine.

    ``teacher`` is the run folder, or the name of the pretrained net, that it is distilled from.
    """

    spec: NetSpec
    recipe: Recipe
    dataset: str
    seed: int
    hold_out: int = 0
    teacher: str | None = None

    def on(self, dataset: str) -> RunConfig:
        """The same, on the dataset that ``auto`` turned out to be."""
        return dataclasses.replace(self, dataset=dataset)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {
            "net": self.spec.to_dict(),
            "recipe": self.recipe.to_dict(),
            "dataset": self.dataset,
            "seed": self.seed,
            "hold_out": self.hold_out,
            "teacher": self.teacher,
        }

    def differing(self, other: RunConfig) -> str:
        """The settings that are not the other's, as ``seed 1 (not 2)``; empty where none is."""
        told = []
        if self.spec.name != other.spec.name:
            told.append(f"net {self.spec.name} (not {other.spec.name})")
        elif self.spec.layers != other.spec.layers:
            told.append("other layers")
        elif self.spec != other.spec:
            told.append("another description")
        theirs = vars(other) | vars(other.recipe)
        for key, value in (vars(self) | vars(self.recipe)).items():
            if key not in ("spec", "recipe") and value != theirs[key]:
                told.append(f"{key} {value} (not {theirs[key]})")
        return ", ".join(told)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunConfig:
        """Read what :meth:`to_dict` wrote."""
        return cls(
            NetSpec.from_dict(data["net"]),
            Recipe.from_dict(data["recipe"]),
            str(data["dataset"]),
            int(data["seed"]),
            int(data.get("hold_out", 0)),
            data.get("teacher"),
        )


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    from safetensors.torch import save

    # One metadata key: safetensors writes several in no fixed order, and equal runs are to give
    # equal files.
    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    data = save(whole, {_METADATA: json.dumps(metadata, sort_keys=True)})
    write_bytes(path, data)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata; :class:`ArtifactError` where it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MissingError(f"{path} is not there; is {path.parent} a finished training run?")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            return tensors, metadata
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path}: not a whole safetensors file ({error})") from error


def load_weights(path: Path, spec: NetSpec) -> dict[str, Tensor]:
    """Read weights of this net; those of another net are an :class:`ArtifactError`."""
    from mnistkit.nets.module import DigitNet

    tensors, metadata = load_tensors(path)
    wanted = {key: tuple(value.shape) for key, value in DigitNet(spec).state_dict().items()}
    got = {key: tuple(value.shape) for key, value in tensors.items()}
    if got != wanted:
        raise ArtifactError(
            f"{path}: holds weights of net {metadata.get('net', 'unknown')!r}, which do not fit "
            f"{spec.name!r}; use the run folder that they were trained in"
        )
    return tensors


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raise a clear error where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"{path} is not there; is {path.parent} a training run?") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not valid JSON ({error})") from error


def read_config(run: Path) -> RunConfig:
    """Read a run folder's configuration."""
    data = read_json(run / CONFIG)
    try:
        return RunConfig.from_dict(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{run / CONFIG}: not a run configuration ({error!r})") from error


def write_json(path: Path, data: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(data, indent=2) + "\n")
