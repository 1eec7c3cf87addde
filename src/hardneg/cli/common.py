"""Shared by all commands: registration, exit codes, and output as text or JSON."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hardneg.errors import ConfigError, HardnegError

F = TypeVar("F", bound=Callable[..., None])

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DeviceOption = Annotated[str, typer.Option(help="Device of tensors: cpu, cuda or cuda:1.")]
ThreadsOption = Annotated[
    int, typer.Option(min=1, help="CPU threads of torch; results are the same on every machine with 1.")
]
SHARED_OPTIONS = ("as_json", "device", "threads")

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def new_group(summary: str) -> typer.Typer:
    """Return a command group that prints its help when called without a command."""
    return typer.Typer(help=summary, no_args_is_help=True, rich_markup_mode="markdown")


def add_command(group: typer.Typer, name: str, *, panel: str | None = None) -> Callable[[F], F]:
    """Return a decorator that registers a function as a command, with the package's exit codes.

    A HardnegError or OSError ends with exit code 2 and one line, Ctrl-C with 130; neither prints a traceback.
    """

    def register(function: F) -> F:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except HardnegError as error:
                _fail(" ".join(str(error).split()), BAD_INPUT)
            except OSError as error:
                cause = f"{error.filename or 'a file'}: {error.strerror or error}"
                _fail(f"{cause}; check the path, permissions and disk", BAD_INPUT)
            except KeyboardInterrupt:
                _fail("interrupted; finished work is kept, run the same command again to continue", INTERRUPTED)

        group.command(name, rich_help_panel=panel)(run)
        return function

    return register


def _fail(message: str, code: int) -> None:
    typer.echo(f"hardneg: {message}", err=True)
    raise typer.Exit(code) from None


def configure_torch(threads: int, device: str = "cpu") -> None:
    """Set torch's threads for this process. Raises ConfigError where the device cannot be used."""
    import torch

    torch.set_num_threads(threads)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        n = torch.cuda.device_count()
        raise ConfigError(
            f"device {device!r} cannot be used, found cpu and {n} CUDA device(s); choose one of these"
        ) from None


def console() -> Console:
    """Return the console for results; lines are not wrapped where the output goes to a file."""
    return Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)


def emit(values: Any, *, as_json: bool, text: str | Table, following: Sequence[object] = ()) -> None:
    """Print a result as JSON or as text.

    following: words of the next command, printed after the text.
    """
    if as_json:
        typer.echo(json.dumps(values, indent=2, default=str))
        return
    console().print(text, markup=False)
    emit_following(following)


def emit_following(words: Sequence[object]) -> None:
    """Print the line that names the next command; nothing without words."""
    if words:
        console().print(f"Next: hardneg {shlex.join(map(str, words))}", markup=False)


def emit_counts(
    counts: Mapping[str, int],
    out: Path,
    kind: str,
    *,
    as_json: bool,
    more: Mapping[str, Any] | None = None,
    following: Sequence[object] = (),
) -> None:
    """Print the counts of an artifact, and every entry of its row report as a line.

    kind: kind of the artifact in `out`. more: values for JSON alone.
    """
    notes = read_notes(out, kind)
    text = f"{out}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}{row_report_text(notes)}"
    values = {**counts, "rows left out": notes["rows left out"], "out": str(out), **(more or {})}
    emit(values, as_json=as_json, text=text, following=following)


def read_notes(folder: Path, kind: str) -> dict[str, Any]:
    """Return the notes in the manifest of a finished artifact."""
    from hardneg.artifacts import read_manifest

    notes: dict[str, Any] = read_manifest(folder, kind)["notes"]
    return notes


def row_report_text(notes: Mapping[str, Any]) -> str:
    """Return the row report in a manifest's notes as indented lines, each after a line break."""
    from hardneg.data.row_report import RowIssue

    return "".join(f"\n  {RowIssue(**entry)}" for entry in notes["rows left out"])


def table(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """Return a table for the terminal: first column left-aligned, the others right-aligned."""
    drawn = Table(*headers[:1], header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers[1:]:
        drawn.add_column(header, justify="right")
    for row in cells:
        drawn.add_row(*map(Text, row))  # Text: ids and titles may contain what looks like markup
    return drawn
