"""Shared by all commands: registration, exit codes, options of the process, and output as text or JSON."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from rich.table import Table
from typer import Exit, Option

from hardneg.cli.output import console, echo, emit_following, file_report_text, item_join_text, row_report_text
from hardneg.errors import ConfigError, DamagedError, HardnegError

if TYPE_CHECKING:
    from hardneg.stage import Stage

F = TypeVar("F", bound=Callable[..., None])

DeviceOption = Annotated[str, Option(help="Device of tensors: cpu, cuda or cuda:1.")]
ThreadsOption = Annotated[
    int, Option(min=1, max=1024, help="CPU threads of torch; results are the same on every machine with 1.")
]

REPORTS = ("shares", "remarks", "files read", "item table", "rows left out")
"""Notes that are printed and in the JSON of commands that write an artifact."""
FAILED, BAD_INPUT, DAMAGED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes: failed checks, unusable input or options, a damaged artifact (of `audit` alone; 2 elsewhere), Ctrl-C."""


def new_group(summary: str) -> typer.Typer:
    """Return a command group that prints its help when called without a command."""
    return typer.Typer(help=summary, no_args_is_help=True, rich_markup_mode="markdown")


@dataclass(frozen=True)
class OutputOptions:
    """Options of every command. The subclasses add those of commands that compute."""

    as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False

    def emit(
        self, values: Any, text: str | Table, following: Sequence[object] = (), *, written: Path | None = None
    ) -> None:
        """Print a result as JSON or as text.

        following: words of the next command. written: folder that was written, if the text does not name it.
        """
        if self.as_json:
            echo(json.dumps(values, indent=2, default=str))
            return
        console().print(text, markup=False)
        if written is not None:
            console().print(f"Written: {written}", markup=False)
        emit_following(following)

    def emit_folder(
        self, out: Path, notes: Mapping[str, Any], text: str | Table, following: Sequence[object], /, **more: object
    ) -> None:
        """Print a text about a written folder; its notes and `more` are the values of JSON."""
        written = None if isinstance(text, str) else out
        self.emit({**notes, "out": str(out), **more}, text if written else f"{out}: {text}", following, written=written)

    def emit_counts(
        self, counts: dict[str, int], out: Path, notes: dict[str, Any], following: Sequence[object], /, **more: object
    ) -> None:
        """Print the counts of an artifact, its remarks, files and row report. more: values for JSON alone."""
        counted = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        reports: dict[str, Any] = {name: notes[name] for name in REPORTS if name in notes}
        remarks = "".join(f"\n  {line}" for line in notes.get("remarks", ()))
        text = f"{counted}{remarks}{file_report_text(notes)}{item_join_text(notes)}{row_report_text(notes)}"
        self.emit_folder(out, {**counts, **reports}, text, following, **more)

    def prepare(self) -> None:
        """Set the process up before the command runs."""


@dataclass(frozen=True)
class ReadingOptions(OutputOptions):
    """Options of a command that reads artifacts."""

    trust: Annotated[
        bool, Option("--trust", help="Read folders without comparing their files with the hashes in their manifests.")
    ] = False


@dataclass(frozen=True)
class CpuOptions(ReadingOptions):
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


def add_command(
    group: typer.Typer, name: str, *, panel: str | None = None, damaged: int = BAD_INPUT
) -> Callable[[F], F]:
    """Return a decorator that registers a function as a command, with the package's exit codes.

    A parameter whose type is a dataclass becomes the options of its fields. A HardnegError or OSError ends with exit
    code 2 and one line, a DamagedError with code `damaged`, Ctrl-C with 130; none prints a traceback. Nor does any error
    with --trust, under which damaged files may be read.
    """

    def register(function: F) -> F:
        hints = get_type_hints(function)
        option_groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

        @functools.wraps(function)
        def run(**values: Any) -> None:
            from hardneg import artifacts

            with _report_errors(damaged, trusted := bool(values.get("trust"))):
                for parameter, kind in option_groups.items():
                    values[parameter] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
                    if isinstance(values[parameter], OutputOptions):
                        values[parameter].prepare()
                with artifacts.trusting(trusted):
                    function(**values)

        parameters = _flat_parameters(function, option_groups)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(name, rich_help_panel=panel)(run)
        return function

    return register


@contextmanager
def _report_errors(damaged: int, trusted: bool) -> Iterator[None]:
    """Turn errors into one line and an exit code; see `add_command`."""
    try:
        yield
    except DamagedError as error:
        _fail(str(error), damaged)
    except HardnegError as error:
        _fail(str(error), BAD_INPUT)
    except OSError as error:
        cause = f"{error.filename or 'a file'}: {error.strerror or error}"
        _fail(f"{cause}; check the path, permissions and disk", BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted; finished work is kept, run the same command again to continue", INTERRUPTED)
    except Exception as error:
        if not trusted or isinstance(error, Exit):
            raise
        cause = f"{type(error).__name__}: {error}"
        _fail(f"a file read with --trust is damaged ({cause}); run without it to find out which", BAD_INPUT)


def _flat_parameters(function: Callable[..., None], option_groups: Mapping[str, Any]) -> list[inspect.Parameter]:
    """Return a command's own parameters, followed by the fields of its option groups, the last group first."""
    flat = []
    for source in (function, *reversed(list(option_groups.values()))):
        hints, excluded = get_type_hints(source, include_extras=True), option_groups if source is function else ()
        for name, parameter in inspect.signature(source).parameters.items():
            if name not in excluded:
                flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
    return flat


def _fail(message: str, code: int) -> None:
    echo(f"hardneg: {' '.join(message.split())}", err=True)
    raise Exit(code) from None


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


def run_stage(stage: Stage, out: Path, *, replace: bool = False, earlier: Path | None = None) -> dict[str, Any]:
    """Make the artifact of a stage in `out` unless it is finished, and return the notes in its manifest.

    earlier: as in `Stage.run`.
    """
    from hardneg.artifacts import read_manifest

    notes: dict[str, Any] = read_manifest(stage.run(out, replace=replace, earlier=earlier), stage.kind)["notes"]
    return notes
