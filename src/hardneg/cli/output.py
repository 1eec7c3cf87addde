"""What a command prints: results on standard output; progress on standard error, in bars or plain lines."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich.progress as rich_progress
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from hardneg.llm.usage import UsageStats
    from hardneg.studies.process_pool import Outcome

LINE_SECONDS = 10
"""Seconds between two lines of progress where there is no terminal."""
REFRESH_SECONDS = 0.2
TrainingWatch = Callable[[int, int, int, float, float], None]
"""Receives epoch, step, steps of the epoch, loss and best validation value."""


def console() -> Console:
    """Return the console for results; lines are not wrapped where the output goes to a file."""
    return Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)


def emit_following(words: Sequence[object]) -> None:
    """Print the line that names the next command; nothing without words."""
    if words:
        console().print(f"Next: hardneg {shlex.join(map(str, words))}", markup=False)


def row_report_text(notes: Mapping[str, Any]) -> str:
    """Return the row report in a manifest's notes as indented lines, each after a line break."""
    from hardneg.data.row_report import RowIssue

    return "".join(f"\n  {RowIssue(**entry)}" for entry in notes["rows left out"])


def render_table(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """Return a table for the terminal: first column left-aligned, the others right-aligned."""
    drawn = Table(*headers[:1], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers[1:]:
        drawn.add_column(header, justify="right")
    for row in cells:
        drawn.add_row(*map(Text, row))  # Text: ids and titles may contain what looks like markup
    return drawn


class ProgressBars:
    """Bars on standard error, one for each name, with rate and time left."""

    def __init__(self, progress: rich_progress.Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, rich_progress.TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show `done` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, extra="")
        self._progress.update(self._tasks[name], completed=done, total=total)

    def show_usage(self, name: str, usage: UsageStats) -> None:
        """Show rows, rate, tokens, money and time left of language model calls."""
        self(name, usage.rows, usage.total or usage.rows)
        self._progress.update(self._tasks[name], extra=str(usage))

    def finish_run(self, group: str, done: int, total: int, outcome: Outcome) -> None:
        """Remove the bar of one run, advance the bar of its group, and print a line if the run failed."""
        self(group, done, total)
        if outcome.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(outcome.name))
        if outcome.reason is not None:
            text = f"{outcome.name} failed: {outcome.reason}"
            self._progress.console.print(text, markup=False, highlight=False)

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

    def finish_run(self, group: str, done: int, total: int, outcome: Outcome) -> None:
        """Print that one run of a group ended, and why it failed if it did."""
        failed = "" if outcome.reason is None else f" failed: {outcome.reason}"
        self._print(f"{group} {done:,}/{total:,}: {outcome.name}{failed}", last=True)

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
    columns: list[Any] = [rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn(bar_width=24)]
    columns += [rich_progress.MofNCompleteColumn()] if count else [rich_progress.TextColumn("{task.percentage:>3.0f}%")]
    columns += [
        rich_progress.TextColumn("{task.fields[extra]}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    ]
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as progress:
        yield ProgressBars(progress)
