"""What a person sees: notes, tables, progress bars, and lines now and then without a terminal."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from mnistkit.training.loop import Progress as TrainingProgress

_LINE_EVERY_S = 15.0  # without a terminal


class Console:
    """Results go to standard output; notes, warnings, errors and progress to standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._out = RichConsole(soft_wrap=True, highlight=False)
        self._err = RichConsole(stderr=True, soft_wrap=True, highlight=False)
        if not self._out.is_terminal:
            self._out.width = 140

    def note(self, text: str) -> None:
        """Say what is being done."""
        if not self._quiet:
            self._err.print(text, markup=False)

    def result(self, text: str) -> None:
        """Print a result."""
        self._out.print(text, markup=False)

    def table(self, made: Table) -> None:
        """Print a table."""
        self._out.print(made, soft_wrap=False)

    def error(self, text: str) -> None:
        """Print an error."""
        self._err.print("error: ", style="bold red", end="")
        self._err.print(text, markup=False)

    def traceback(self) -> None:
        """Print where the error that is being handled came from."""
        self._err.print(traceback.format_exc(), markup=False)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Print a warning (takes :func:`warnings.showwarning`'s place)."""
        from mnistkit.data.sets import DatasetWarning

        if issubclass(category, DatasetWarning):
            self._err.rule("WARNING", style="bold yellow")
            self._err.print(str(message), style="bold yellow", markup=False)
            self._err.rule(style="bold yellow")
        elif not self._quiet:
            self._err.print(f"warning: {message}", style="yellow", markup=False)

    @contextmanager
    def bar(self, title: str, *, hidden: bool = False) -> Iterator[WorkBar]:
        """A bar for work that is counted; ``hidden`` where results run down the terminal anyway."""
        columns = TextColumn("{task.description}"), BarColumn()
        with self._progress(*columns, hidden=hidden) as progress:
            yield WorkBar(self, progress, title)

    @contextmanager
    def training_bar(self, epochs: int) -> Iterator[TrainingBar]:
        """A bar for training: loss, learning rate, images a second, time left."""
        with self._progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  lr {task.fields[lr]:.4f}"),
            TextColumn("{task.fields[rate]:,.0f} images/s"),
            TimeRemainingColumn(),
        ) as progress:
            yield TrainingBar(self, progress, epochs)

    @property
    def interactive(self) -> bool:
        """Whether bars can be drawn."""
        return self._err.is_terminal and not self._quiet

    @property
    def results_on_terminal(self) -> bool:
        """Whether results and bars would be drawn over one another."""
        return self._out.is_terminal

    def _progress(self, *columns: Any, hidden: bool = False) -> Progress:
        disable = hidden or not self.interactive
        return Progress(*columns, console=self._err, disable=disable, transient=True)


class WorkBar:
    """Shows the current piece of work and how far it is."""

    def __init__(self, console: Console, progress: Progress, title: str) -> None:
        self._console, self._progress, self._title = console, progress, title
        self._task = progress.add_task(title, total=1.0)
        self._what, self._done, self._said = "", 0, time.monotonic()

    def advance(self, what: str, count: int, total: int) -> None:
        """``count`` more of ``total`` pieces of ``what`` are done."""
        if what != self._what:
            self._what, self._done = what, 0
        self._done += count
        self.fraction(what, self._done / total)

    def fraction(self, what: str, done: float) -> None:
        """``what`` is at ``done`` in 0..1."""
        self._progress.update(self._task, description=f"{self._title}: {what}", completed=done)
        now = time.monotonic()
        if not self._console.interactive and now - self._said > _LINE_EVERY_S:
            self._said = now
            self._console.note(f"{self._title}: {what} {done:.0%}")


class TrainingBar:
    """Follows a training run."""

    def __init__(self, console: Console, progress: Progress, epochs: int) -> None:
        self._console, self._progress, self._epochs = console, progress, epochs
        self._task = progress.add_task(
            "train", total=None, epoch=1, epochs=epochs, loss=0.0, lr=0.0, rate=0.0
        )

    def step(self, state: TrainingProgress) -> None:
        """Show the state after a step."""
        self._progress.update(
            self._task,
            completed=state.step,
            total=state.steps,
            epoch=state.epoch,
            loss=state.loss,
            lr=state.lr,
            rate=state.images_per_second,
        )

    def epoch(self, record: dict[str, Any]) -> None:
        """Print a line for a finished epoch."""
        held = record.get("hold_out_accuracy")
        self._console.note(
            f"epoch {record['epoch']:2d}/{self._epochs}  loss {record['loss']:.4f}  "
            f"{record['images_per_second']:,.0f} images/s  {record['seconds']:.1f} s"
            + (f"  hold-out {held:.2%}" if held is not None else "")
        )
