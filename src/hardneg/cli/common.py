"""Shared by all commands: registration, exit codes, and output as text or JSON."""

from __future__ import annotations

import functools
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

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

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def new_group(summary: str) -> typer.Typer:
    """Return a command group that prints its help when called without a command."""
    return typer.Typer(help=summary, no_args_is_help=True, rich_markup_mode="markdown")


@dataclass(frozen=True)
class OutputOptions:
    """Options of every command. The subclasses add those of commands that compute."""

    as_json: JsonOption = False

    def emit(
        self, values: Any, text: str | Table, following: Sequence[object] = (), *, written: Path | None = None
    ) -> None:
        """Print a result as JSON or as text.

        following: words of the next command. written: folder that was written, if the text does not name it.
        """
        if self.as_json:
            typer.echo(json.dumps(values, indent=2, default=str))
            return
        console().print(text, markup=False)
        if written is not None:
            console().print(f"Written: {written}", markup=False)
        emit_following(following)

    def prepare(self) -> None:
        """Set the process up before the command runs."""


@dataclass(frozen=True)
class CpuOptions(OutputOptions):
    """Options of a command that computes on the CPU."""

    threads: ThreadsOption = 1

    def prepare(self) -> None:
        """Set torch's threads."""
        configure_torch(self.threads)


@dataclass(frozen=True)
class DeviceOptions(CpuOptions):
    """Options of a command that computes on any device."""

    device: DeviceOption = "cpu"

    def prepare(self) -> None:
        """Set torch's threads and test the device."""
        configure_torch(self.threads, self.device)


def add_command(group: typer.Typer, name: str, *, panel: str | None = None) -> Callable[[F], F]:
    """Return a decorator that registers a function as a command, with the package's exit codes.

    A parameter whose type is a dataclass becomes the options of its fields. A HardnegError or OSError ends with exit
    code 2 and one line, Ctrl-C with 130; neither prints a traceback.
    """

    def register(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        option_groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

        @functools.wraps(function)
        def run(**values: Any) -> None:
            try:
                for parameter, kind in option_groups.items():
                    values[parameter] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
                    if isinstance(values[parameter], OutputOptions):
                        values[parameter].prepare()
                function(**values)
            except HardnegError as error:
                _fail(" ".join(str(error).split()), BAD_INPUT)
            except OSError as error:
                cause = f"{error.filename or 'a file'}: {error.strerror or error}"
                _fail(f"{cause}; check the path, permissions and disk", BAD_INPUT)
            except KeyboardInterrupt:
                _fail("interrupted; finished work is kept, run the same command again to continue", INTERRUPTED)

        parameters = _flat_parameters(function, hints, option_groups)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(name, rich_help_panel=panel)(run)
        return function

    return register


def _flat_parameters(
    function: Callable[..., None], hints: Mapping[str, Any], option_groups: Mapping[str, Any]
) -> list[inspect.Parameter]:
    """Return a command's own parameters, followed by the fields of its option groups, the last group first."""
    named = [
        (name, parameter.default, hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in option_groups
    ]
    for kind in reversed(list(option_groups.values())):
        field_hints = get_type_hints(kind, include_extras=True)
        named += [
            (
                field.name,
                inspect.Parameter.empty if field.default is MISSING else field.default,
                field_hints[field.name],
            )
            for field in fields(kind)
        ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, keyword, default=default, annotation=hint) for name, default, hint in named]


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


def emit_following(words: Sequence[object]) -> None:
    """Print the line that names the next command; nothing without words."""
    if words:
        console().print(f"Next: hardneg {shlex.join(map(str, words))}", markup=False)


def emit_counts(
    shared: OutputOptions,
    counts: Mapping[str, int],
    out: Path,
    kind: str,
    following: Sequence[object],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print the counts of an artifact, and every entry of its row report as a line.

    kind: kind of the artifact in `out`. more: values for JSON alone.
    """
    notes = read_notes(out, kind)
    text = f"{out}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}{row_report_text(notes)}"
    values = {**counts, "rows left out": notes["rows left out"], "out": str(out), **(more or {})}
    shared.emit(values, text, following)


def read_notes(folder: Path, kind: str) -> dict[str, Any]:
    """Return the notes in the manifest of a finished artifact."""
    from hardneg.artifacts import read_manifest

    notes: dict[str, Any] = read_manifest(folder, kind)["notes"]
    return notes


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
