"""Output of commands: results on standard output; progress on standard error, in bars or plain lines."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import rich.progress as rich_progress
import typer
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hardneg.plain_text import escape_controls, escape_line

if TYPE_CHECKING:
    from hardneg.llm.usage import UsageStats
    from hardneg.studies.comparisons import ResultTable
    from hardneg.studies.process_pool import Outcome

LINE_SECONDS = 10
"""Seconds between two lines of progress where there is no terminal."""
TrainingWatch = Callable[[int, int, int, float, float], None]
"""Receives epoch, step, steps of the epoch, loss and best validation value."""


class SafeConsole(Console):
    """A console that shows control characters of the printed text as escapes and sends only its own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as Text, escaped; Text itself would drop some control characters."""
        return super().render_str(escape_controls(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a text or table, escaped."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_controls(text), style, control)


def console() -> Console:
    """Return the console for results; lines are not wrapped where the output goes to a file."""
    width = None if sys.stdout.isatty() else 200
    return SafeConsole(soft_wrap=True, highlight=False, emoji=False, width=width)


def echo(line: str, *, err: bool = False) -> None:
    """Print a line without styles."""
    typer.echo(escape_controls(line), err=err)


def emit_following(words: Sequence[object]) -> None:
    """Print the line that names the next command; nothing without words."""
    if words:
        console().print(f"Next: hardneg {shlex.join(map(str, words))}", markup=False)


def file_report_text(notes: Mapping[str, Any]) -> str:
    """Return how the files of an import were understood: a line for each, and its details on indented ones."""
    from hardneg.data.file_summary import FileSummary

    summaries = {name: FileSummary(**entry) for name, entry in notes.get("files read", {}).items()}
    return "".join(
        f"\n  {escape_line(name)}: " + "\n    ".join(lines)
        for name, summary in summaries.items()
        if (lines := list(map(escape_line, summary.lines())))
    )


def item_join_text(notes: Mapping[str, Any]) -> str:
    """Return how many items of an import have a row in the item table, as an indented line."""
    from hardneg.data.item_join import render_item_join

    return f"\n  {escape_line(render_item_join(notes['item table']))}" if "item table" in notes else ""


def warn_if_empty(notes: Mapping[str, Any]) -> None:
    """Print the warning of negatives or neighbours most of which are missing."""
    from hardneg.sampling.mined import MOSTLY_EMPTY

    if MOSTLY_EMPTY in notes:
        echo(f"WARNING: {notes[MOSTLY_EMPTY]}", err=True)


def warn_if_slower(notes: Mapping[str, Any]) -> None:
    """Print the warning of a run or an evaluation whose settings are slower than others on this machine."""
    from hardneg.speeds import SLOWER

    if SLOWER in notes:
        echo(f"WARNING: {notes[SLOWER]}", err=True)


def row_report_text(notes: Mapping[str, Any]) -> str:
    """Return the row report in a manifest's notes as indented lines, each after a line break."""
    from hardneg.data.row_report import RowIssue

    return "".join(f"\n  {escape_line(str(RowIssue(**entry)))}" for entry in notes["rows left out"])


def render_table(headers: Sequence[str], cells: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> Table:
    """Return a table for the terminal: the first column and those named in `left` are left-aligned, the others right."""
    drawn = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column, header in enumerate(headers):
        justify: Literal["left", "right"] = "right" if column and header not in left else "left"
        drawn.add_column(Text(escape_line(header)), justify=justify)
    for row in cells:
        drawn.add_row(
            *(Text(escape_line(cell)) for cell in row)
        )  # Text: ids and titles may contain what looks like markup
    return drawn


def print_titled(title: str, table: ResultTable, style: str = "bold") -> None:
    """Print a title and, where it has columns, the table below it."""
    console().print(title, style=style, markup=False)
    if table.headers:
        console().print(render_table(table.headers, table.cells))


class ProgressDisplay:
    """Progress on standard error: a bar for each name on a terminal, else a plain line every ten seconds."""

    def __init__(self, bars: rich_progress.Progress | None = None) -> None:
        self._bars = bars
        self._tasks: dict[str, rich_progress.TaskID] = {}
        self._printed = time.monotonic()
        self._started: dict[str, tuple[float, int]] = {}
        self._notices: set[str] = set()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show `done` of `total`."""
        line = f"{name}: {done:,}/{total:,}{self._time_left(name, done, total)}"
        self._show(name, done, total, line, last=done == total)

    def show_usage(self, name: str, usage: UsageStats) -> None:
        """Show rows, rate, tokens, money and time left of language model calls, and each new notice at once."""
        for notice in usage.notices:
            if (line := f"{name}: {notice}") not in self._notices:
                self._notices.add(line)
                self.note(line)
        rows, total = usage.rows, usage.total
        self._show(name, rows, total or rows, f"{name}: {usage}", str(usage), last=rows == total)

    def finish_run(self, group: str, done: int, total: int, outcome: Outcome) -> None:
        """Show that one run of a group ended, and why it failed if it did."""
        ended = outcome.name + ("" if outcome.reason is None else f" failed: {outcome.reason}")
        self._show(group, done, total, f"{group} {done:,}/{total:,}: {ended}", last=True)
        if self._bars is not None:
            if outcome.name in self._tasks:
                self._bars.remove_task(self._tasks.pop(outcome.name))
            if outcome.reason is not None:
                self.note(ended)

    def watch_training(self, epochs: int) -> TrainingWatch:
        """Return a callback for the training loop: all epochs, with loss and best validation value."""

        def show(epoch: int, step: int, steps: int, loss: float, best: float) -> None:
            parts = [f"epoch {epoch}/{epochs}", f"loss {loss:.4f}", *([] if best < 0 else [f"best {best:.4f}"])]
            completed = 1000 * (epoch - 1) + 1000 * step // steps
            self._show("training", completed, epochs * 1000, f"training: {', '.join(parts)}", "  ".join(parts))

        return show

    def _time_left(self, name: str, done: int, total: int) -> str:
        """Return the time left at the pace since the first report of a name, "" where it is not known."""
        from hardneg.llm.usage import format_seconds

        now = time.monotonic()
        start, before = self._started.setdefault(name, (now, done))
        pace = (done - before) / (now - start) if now > start else 0
        return f", {format_seconds((total - done) / pace)} left" if pace > 0 and done < total else ""

    def note(self, line: str) -> None:
        """Print a line in any case, above the bars where there are some."""
        if self._bars is None:
            echo(line, err=True)
        else:
            self._bars.console.print(line, markup=False, highlight=False)

    def _show(self, name: str, done: int, total: int, line: str, extra: str = "", *, last: bool = False) -> None:
        """Advance the bar of a name, with the text `extra`, or print the line. last: print it in any case."""
        if self._bars is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total, extra="")
            self._bars.update(self._tasks[name], completed=done, total=total, extra=extra)
        elif last or time.monotonic() - self._printed > LINE_SECONDS:
            self._printed = time.monotonic()
            echo(line, err=True)


@contextmanager
def show_progress(*, count: bool = True) -> Iterator[ProgressDisplay]:
    """Show progress while the block runs. count: show "done/total" instead of a percentage."""
    if not sys.stderr.isatty():
        yield ProgressDisplay()
        return
    columns: list[Any] = [
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(bar_width=24),
    ]
    columns += [rich_progress.MofNCompleteColumn()] if count else [rich_progress.TextColumn("{task.percentage:>3.0f}%")]
    columns += [
        rich_progress.TextColumn("{task.fields[extra]}", markup=False),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    ]
    with rich_progress.Progress(*columns, console=SafeConsole(stderr=True)) as progress:
        yield ProgressDisplay(progress)
