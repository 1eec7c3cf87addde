"""What every command shares: errors as one line, progress bars, output for people or machines."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from rich import box
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
from rich.table import Table
from rich.text import Text

from hardneg.errors import HardnegError

if TYPE_CHECKING:
    from hardneg.data.row_report import RowReport
    from hardneg.llm.engine.usage_stats import UsageStats

P = ParamSpec("P")
R = TypeVar("R")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text for people.")]
DeviceOption = Annotated[str, typer.Option(help="Where tensors live: cpu, cuda, cuda:1.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads of torch; one gives the same bits everywhere.")]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
LINE_SECONDS = 10


def console() -> Console:
    """For results; where they go to a file, lines may be long."""
    return Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Map the package's errors to exit code 2 and one line, Ctrl-C to 130; no traceback for either."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except HardnegError as error:
            typer.echo(f"hardneg: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except OSError as error:
            typer.echo(
                f"hardneg: {error.filename or 'a file'}: {error.strerror or error}; check the path, permissions and disk",
                err=True,
            )
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            typer.echo("hardneg: interrupted; what was finished is kept, the same command goes on from there", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return run


def use_threads(threads: int) -> None:
    """Set torch's threads for this process."""
    import torch

    torch.set_num_threads(threads)


def require_device(device: str) -> None:
    """Fail early, with what there is, where a device cannot be used."""
    import torch

    from hardneg.errors import ConfigError

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        n = torch.cuda.device_count()
        raise ConfigError(
            f"device {device!r} cannot be used, found cpu and {n} CUDA device(s); choose one of these"
        ) from None


def emit(values: Any, *, as_json: bool, text: str | Table) -> None:
    """Print the result once, in one of its two forms."""
    if as_json:
        typer.echo(json.dumps(values, indent=2, default=str))
    else:
        console().print(text, markup=False)


def emit_counts(
    counts: dict[str, int], row_report: RowReport, out: Path, *, as_json: bool, more: dict[str, Any] | None = None
) -> None:
    """What a folder holds, and every entry of its ledger as a line; `more` is for machines."""
    from hardneg.data.row_report import report_notes

    text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    emit(
        {**counts, "rows left out": report_notes(row_report), "out": str(out), **(more or {})},
        as_json=as_json,
        text=f"{out}: {text}",
    )
    if not as_json:
        for entry in row_report:
            console().print(f"  {entry}", markup=False)


def table(headers: list[str], cells: list[list[str]]) -> Table:
    """A table for the terminal: first column left, the others right."""
    drawn = Table(*headers[:1], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers[1:]:
        drawn.add_column(header, justify="right")
    for row in cells:
        drawn.add_row(*map(Text, row))  # as it is: ids and titles may hold what looks like markup
    return drawn


class Bars:
    """Progress of named work on standard error, with rate and time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show `done` of `total`."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, extra="")
        self._progress.update(self._tasks[what], completed=done, total=total)

    def asking(self, what: str, tally: UsageStats) -> None:
        """Show how far a language model is: rows, rate, tokens, money, time left."""
        self(what, tally.rows, tally.total or tally.rows)
        self._progress.update(self._tasks[what], extra=str(tally))

    def ended(self, whole: str, done: int, total: int, what: str, failure: str | None) -> None:
        """One of many is over: its bar goes, the bar of the whole moves on, a failure leaves a line."""
        self(whole, done, total)
        if what in self._tasks:
            self._progress.remove_task(self._tasks.pop(what))
        if failure is not None:
            self._progress.console.print(f"{what} failed: {failure}", markup=False, highlight=False)

    def watch(self, epochs: int) -> Callable[[int, int, int, float, float], None]:
        """A callback for the training loop: one bar over all epochs, with loss and best validation value."""
        task = self._progress.add_task("training", total=epochs * 1000, extra="")
        shown = 0.0

        def see(epoch: int, step: int, steps: int, loss: float, best: float) -> None:
            nonlocal shown
            if step == steps or time.monotonic() - shown > 0.2:
                shown = time.monotonic()
                so_far = f"epoch {epoch}/{epochs}  loss {loss:.4f}" + ("" if best < 0 else f"  best {best:.4f}")
                completed = 1000 * (epoch - 1) + 1000 * step // steps
                self._progress.update(task, completed=completed, extra=so_far)

        return see


class Lines:
    """Progress where standard error is no terminal: a plain line now and then."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say `done` of `total`."""
        self._say(f"{what}: {done:,}/{total:,}", last=done == total)

    def asking(self, what: str, tally: UsageStats) -> None:
        """Say how far a language model is."""
        self._say(f"{what}: {tally}", last=tally.rows == tally.total)

    def ended(self, whole: str, done: int, total: int, what: str, failure: str | None) -> None:
        """One of many is over."""
        failed = "" if failure is None else f" failed: {failure}"
        self._say(f"{whole} {done:,}/{total:,}: {what}{failed}", last=True)

    def watch(self, epochs: int) -> Callable[[int, int, int, float, float], None]:
        """A callback for the training loop."""

        def see(epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG001
            so_far = "" if best < 0 else f", best {best:.4f}"
            self._say(f"training: epoch {epoch}/{epochs}, loss {loss:.4f}{so_far}", last=False)

        return see

    def _say(self, text: str, *, last: bool) -> None:
        if last or time.monotonic() - self._shown > LINE_SECONDS:
            self._shown = time.monotonic()
            typer.echo(text, err=True)


@contextmanager
def bars(*, count: bool = True) -> Iterator[Bars | Lines]:
    """Draw progress while the block runs: bars on a terminal, else a line every ten seconds."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24)]
    columns += [MofNCompleteColumn()] if count else [TextColumn("{task.percentage:>3.0f}%")]
    columns += [TextColumn("{task.fields[extra]}"), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)
