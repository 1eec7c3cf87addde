"""Progress of commands on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from hardneg.llm.usage import UsageStats

LINE_SECONDS = 10
"""Seconds between two lines where there is no terminal."""
REFRESH_SECONDS = 0.2
TrainingWatch = Callable[[int, int, int, float, float], None]
"""Receives epoch, step, steps of the epoch, loss and best validation value."""


class ProgressBars:
    """Bars on standard error, one for each name, with rate and time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show `done` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, extra="")
        self._progress.update(self._tasks[name], completed=done, total=total)

    def show_usage(self, name: str, usage: UsageStats) -> None:
        """Show rows, rate, tokens, money and time left of language model calls."""
        self(name, usage.rows, usage.total or usage.rows)
        self._progress.update(self._tasks[name], extra=str(usage))

    def finish_run(self, group: str, done: int, total: int, name: str, failure: str | None) -> None:
        """Remove the bar of one run, advance the bar of its group, and print a line if the run failed."""
        self(group, done, total)
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
        if failure is not None:
            self._progress.console.print(f"{name} failed: {failure}", markup=False, highlight=False)

    def watch_training(self, epochs: int) -> TrainingWatch:
        """Return a callback for the training loop: one bar over all epochs, with loss and best validation value."""
        task = self._progress.add_task("training", total=epochs * 1000, extra="")
        refreshed = 0.0

        def show(epoch: int, step: int, steps: int, loss: float, best: float) -> None:
            nonlocal refreshed
            if step == steps or time.monotonic() - refreshed > REFRESH_SECONDS:
                refreshed = time.monotonic()
                text = f"epoch {epoch}/{epochs}  loss {loss:.4f}" + ("" if best < 0 else f"  best {best:.4f}")
                completed = 1000 * (epoch - 1) + 1000 * step // steps
                self._progress.update(task, completed=completed, extra=text)

        return show


class ProgressLines:
    """A plain line on standard error every ten seconds."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Print `done` of `total`."""
        self._print(f"{name}: {done:,}/{total:,}", last=done == total)

    def show_usage(self, name: str, usage: UsageStats) -> None:
        """Print rows, rate, tokens, money and time left of language model calls."""
        self._print(f"{name}: {usage}", last=usage.rows == usage.total)

    def finish_run(self, group: str, done: int, total: int, name: str, failure: str | None) -> None:
        """Print that one run of a group ended, and why it failed if it did."""
        failed = "" if failure is None else f" failed: {failure}"
        self._print(f"{group} {done:,}/{total:,}: {name}{failed}", last=True)

    def watch_training(self, epochs: int) -> TrainingWatch:
        """Return a callback for the training loop."""

        def show(epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG001
            best_text = "" if best < 0 else f", best {best:.4f}"
            self._print(f"training: epoch {epoch}/{epochs}, loss {loss:.4f}{best_text}", last=False)

        return show

    def _print(self, text: str, *, last: bool) -> None:
        if last or time.monotonic() - self._printed > LINE_SECONDS:
            self._printed = time.monotonic()
            typer.echo(text, err=True)


ProgressDisplay = ProgressBars | ProgressLines


@contextmanager
def show_progress(*, count: bool = True) -> Iterator[ProgressDisplay]:
    """Show progress while the block runs. count: show "done/total" instead of a percentage."""
    if not sys.stderr.isatty():
        yield ProgressLines()
        return
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24)]
    columns += [MofNCompleteColumn()] if count else [TextColumn("{task.percentage:>3.0f}%")]
    columns += [TextColumn("{task.fields[extra]}"), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield ProgressBars(progress)
