"""The commands that tell of things: ``nets`` and ``doctor``; and ``build-runner``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mnistkit.cli.common import JsonOption, QuietOption, VerboseOption, session, write_json


def nets(
    name: Annotated[str | None, typer.Argument(help="Print this net's layers.")] = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List the nets, or print the layer table of one.

    Examples:
      mnistkit nets

      mnistkit nets ref-18738
    """
    with session(quiet, verbose) as console:
        from mnistkit.cli import tables as report
        from mnistkit.nets import zoo
        from mnistkit.nets.table import layer_rows
        from mnistkit.runs.source import pretrained_accuracies

        if name is None:
            accuracies = pretrained_accuracies()
            console.table(report.nets_table(zoo.ZOO.values(), accuracies))
            figures: Any = [
                {
                    "name": spec.name,
                    "description": spec.description,
                    "params": spec.params,
                    "multiply_adds": spec.multiply_adds,
                    "receptive_field": spec.receptive_field,
                    "activation_values": spec.activation_values,
                    "accuracy": accuracies.get(spec.name),
                }
                for spec in zoo.ZOO.values()
            ]
        else:
            spec = zoo.get(name)
            rows = layer_rows(spec)
            lines = [
                (row.layer, row.output, f"{row.params:,}", f"{row.multiply_adds:,}") for row in rows
            ]
            lines.append(("total", "", f"{spec.params:,}", f"{spec.multiply_adds:,}"))
            columns = ("layer", "output", "params", "multiply-adds")
            console.table(report.table(f"{spec.name}: {spec.description}", columns, lines))
            figures = {
                "name": spec.name,
                "params": spec.params,
                "rows": [vars(row) for row in rows],
            }
        if json_file:
            write_json(json_file, figures)


def doctor(
    json_file: JsonOption = None, quiet: QuietOption = False, verbose: VerboseOption = False
) -> None:
    """Show what is installed, which backends can be used, and what would make the rest usable."""
    with session(quiet, verbose) as console:
        from mnistkit.cli import tables as report
        from mnistkit.cli.doctor import examine

        figures = examine()
        if json_file:
            write_json(json_file, figures)
        for made in report.doctor_tables(figures):
            console.table(made)


def build_runner(
    jobs: Annotated[int, typer.Option(min=0, help="Parallel compile jobs; 0: all cores.")] = 0,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compile the C++ libtorch runner against this environment's PyTorch.

    Needs a C++20 compiler and CMake, no CUDA toolkit. The library goes to the user's cache.
    """
    with session(quiet, verbose) as console:
        from mnistkit.native.library import RUNNER

        console.result(f"runner: {RUNNER.build(jobs=jobs, verbose=verbose)}")
