"""What the commands share: options, the session around each command, and the writing of JSON."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistkit.common.errors import MnistkitError, UsageError
from mnistkit.common.threads import check_threads

if TYPE_CHECKING:
    from mnistkit.artifact.folder import Artifact
    from mnistkit.cli.console import Console
    from mnistkit.runs.source import Source


def _threads(threads: int) -> int:
    try:
        return check_threads(threads)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error


RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN_OR_NAME]",
        help="A training run's folder or a pretrained net; default: the newest run, else 'base'.",
    ),
]
PretrainedOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The package's own weights of this net, whatever is here."),
]
DirArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="An artifact folder; default: the newest one here."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the data, and no other; else $MNISTKIT_DATA, the cache, the web."
    ),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks and more.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
ThreadsOption = Annotated[
    int, typer.Option(callback=_threads, help="CPU threads; 0 lets the runtime choose.")
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", metavar="A,B", help="Only these backends.")
]
PrecisionOption = Annotated[
    str | None, typer.Option(metavar="A,B", help="Only these precisions: fp32, fp16, int8.")
]
TrtFlavorOption = Annotated[
    str, typer.Option(help="Which TensorRT: auto, tensorrt or tensorrt_rtx.")
]
GpuArchOption = Annotated[
    str | None,
    typer.Option(
        metavar="A,B", help="Compute capabilities, for example 8.6,8.9; default: the GPU here."
    ),
]
MinBatchOption = Annotated[int, typer.Option(help="Smallest batch of a TensorRT plan.")]
OptBatchOption = Annotated[
    int | None, typer.Option(help="Batch that a TensorRT plan is tuned for; default: 64.")
]
MaxBatchOption = Annotated[int, typer.Option(help="Largest batch of a TensorRT plan.")]


def chosen(run_or_name: str | None, pretrained: str | None) -> Source:
    """The trained net that was asked for: a run folder, a name, or what ``--pretrained`` names."""
    from mnistkit.runs import source

    if pretrained is None:
        return source.resolve(run_or_name)
    _refuse_both(run_or_name, pretrained)
    return source.pretrained(pretrained)


@contextmanager
def artifact(folder: Path | None, pretrained: str | None) -> Iterator[Artifact]:
    """The artifact folder that was asked for, the newest, or one of a pretrained net, made here."""
    from mnistkit.artifact.folder import Artifact, newest

    if pretrained is None:
        yield Artifact.open(folder or newest())
        return
    _refuse_both(folder, pretrained)
    from mnistkit.export.writer import FORMATS, export
    from mnistkit.runs import source

    with TemporaryDirectory(prefix="mnistkit-") as parent:
        made = Path(parent) / pretrained
        export(source.pretrained(pretrained), made, list(FORMATS))
        yield Artifact.open(made)


def _refuse_both(given: str | Path | None, pretrained: str) -> None:
    if given is not None:
        raise UsageError(f"got both {given} and --pretrained {pretrained}; give one of them")


def split(text: str | None) -> list[str] | None:
    """The parts of ``A,B``; None where the option was left out."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


@contextmanager
def session(quiet: bool, verbose: bool) -> Iterator[Console]:
    """Give the console, show warnings as lines on it, and turn our errors into exit codes."""
    from mnistkit.cli.console import Console

    console = Console(quiet=quiet)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = console.show_warning
            yield console
    except MnistkitError as error:
        if verbose:
            console.traceback()
        console.error(str(error))
        raise typer.Exit(error.exit_code) from error


def write_json(path: Path, figures: Any) -> None:
    """Write figures to a file, or to standard output for ``-``."""
    from mnistkit.common.paths import write_text

    text = json.dumps(figures, indent=1) + "\n"
    if path == Path("-"):
        sys.stdout.write(text)
    else:
        write_text(path, text)
