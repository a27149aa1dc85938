"""A run's settings from a file: what `--config` reads, and what a run's own config.json is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnistkit.common.errors import UsageError
from mnistkit.nets import zoo
from mnistkit.nets.spec import NetSpec
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import recipe_for

_KEYS = ("net", "recipe", "dataset", "seed", "hold_out", "teacher")


def read(path: Path) -> dict[str, Any]:
    """Read a JSON file of settings; a misspelt key is a :class:`UsageError`."""
    if not path.is_file():
        raise UsageError(f"--config: {path} is not a file")
    try:
        found: Any = json.loads(path.read_text())
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: wanted a JSON object with some of {', '.join(_KEYS)}")
    if unknown := sorted(set(found) - set(_KEYS)):
        raise UsageError(
            f"{path}: unknown setting {', '.join(unknown)}; known settings: {', '.join(_KEYS)}"
        )
    return found


def run_config(
    file: Mapping[str, Any], given: Mapping[str, Any], recipe: Mapping[str, Any]
) -> RunConfig:
    """The settings of a run: what was given goes before the file, and that before the recipe.

    ``given`` and ``recipe`` may hold None for what was not given.
    """
    chosen = {**file, **{key: value for key, value in given.items() if value is not None}}
    net = chosen.get("net", "base")
    spec = zoo.get(net) if isinstance(net, str) else NetSpec.from_dict(net)
    settings = recipe_for(spec.name).replace(**file.get("recipe", {}))
    settings = settings.replace(**{k: v for k, v in recipe.items() if v is not None})
    return RunConfig(
        spec,
        settings,
        str(chosen.get("dataset", "auto")),
        int(chosen.get("seed", 0)),
        int(chosen.get("hold_out", 0)),
        chosen.get("teacher"),
    )


def check_budget(config: RunConfig, max_params: int | None, max_epochs: int | None) -> None:
    """Refuse a net or a recipe that is over its budget, before anything is loaded."""
    net, epochs = config.spec, config.recipe.epochs
    if max_params is not None and net.params > max_params:
        raise UsageError(
            f"{net.name} has {net.params:,} parameters, over the budget of {max_params:,} "
            f"(--max-params); 'mnistkit nets' lists smaller ones"
        )
    if max_epochs is not None and epochs > max_epochs:
        raise UsageError(
            f"{epochs} epochs are over the budget of {max_epochs} (--max-epochs); "
            f"pass --epochs {max_epochs}"
        )
