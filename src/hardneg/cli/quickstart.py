"""`hardneg run`: from a table of orders and one of products to a comparison and a model that recommends."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from typer import Argument, Option

from hardneg.cli.common import OutputOptions, configure_torch
from hardneg.cli.data_import import ColumnOptions, TextFormatOptions, TimeFormatOption
from hardneg.cli.llm_options import FORMS
from hardneg.cli.options import PrecisionOption
from hardneg.cli.output import console, echo, emit_following, render_table, show_progress
from hardneg.plain_text import escape_line

if TYPE_CHECKING:
    from hardneg.quickstart import Answer, ColumnMapping, Question


@dataclass(frozen=True)
class BudgetOptions:
    """Options that decide how long the command may train."""

    minutes: Annotated[
        float, Option(min=0.1, max=100_000, help="Minutes that search, comparison and final model may take.")
    ] = 10
    trials: Annotated[
        int | None,
        Option(min=1, max=10_000, show_default="as the time allows", help="Trials of each method; 1 is no search."),
    ] = None
    epochs: Annotated[
        int | None, Option(min=1, max=100_000, show_default="as the time allows", help="Most epochs of a run.")
    ] = None
    workers: Annotated[
        int,
        Option(min=1, max=256, help="Number of training processes, one thread each; no more than there are cores."),
    ] = 2

    @property
    def processes(self) -> int:
        """Number of processes that have a core of their own."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(self.workers, cores)


@dataclass(frozen=True)
class MappingOptions(ColumnOptions):
    """Options that say what columns mean."""

    time_format: TimeFormatOption = None
    yes: Annotated[bool, Option("--yes", "-y", help="Take the first reading where several are possible.")] = False


def run_command(
    shared: OutputOptions,
    named: MappingOptions,
    text: TextFormatOptions,
    budget: BudgetOptions,
    orders: Annotated[Path, Argument(help="Orders, ratings or clicks: CSV, Parquet or RecBole's .inter.")],
    products: Annotated[
        Path | None, Argument(help="Products with titles and other texts: CSV, Parquet or RecBole's .item.")
    ] = None,
    out: Annotated[Path, Option(help="Folder to write or to continue.")] = Path("out/run"),
    llm: Annotated[
        str | None,
        Option(metavar="NAME", help=f"Language model that names negatives, beyond the minutes: {FORMS}"),
    ] = None,
    precision: PrecisionOption = None,
) -> None:
    """Compare methods on two tables of your own, and fit the best one to recommend.

    Columns are guessed and shown; where two readings are possible, the command asks. It filters, splits by time where times exist, searches the settings of every method on validation pairs within the minutes, compares them with three seeds on test pairs, and trains the best on every pair. Interrupted, the same command continues with the same result.

    Examples:

    `hardneg run orders.csv products.csv --out shop`

    `hardneg run sales.csv --column user_id=buyer --column item_id=article --minutes 30 --out sales`
    """
    from hardneg.quickstart import QuickstartConfig, run_quickstart

    configure_torch(1)
    mapping = _find_mapping(named, text, orders, products, out)
    config = QuickstartConfig(
        minutes=budget.minutes,
        trials=budget.trials,
        epochs=budget.epochs,
        llm=llm,
        precision=precision,
        workers=budget.processes,
    )
    with show_progress() as progress:
        answer = run_quickstart(
            out,
            orders,
            products,
            mapping,
            config,
            options=text.settings,
            report=progress.note,
            progress=progress,
            ended=progress.finish_run,
        )
    _emit_answer(shared, answer, out)


def _find_mapping(
    named: MappingOptions, text: TextFormatOptions, orders: Path, products: Path | None, out: Path
) -> ColumnMapping:
    """Return the mapping of an earlier call where nothing else is asked for; else guess and ask."""
    from hardneg.data.readers.text_format import TextOptions
    from hardneg.quickstart import guess_columns, read_mapping

    mappings = named.mappings
    if not any(mappings.values()) and named.time_format is None and (earlier := read_mapping(out)) is not None:
        return earlier
    return guess_columns(
        orders,
        products,
        partial(choose_reading, yes=named.yes),
        **mappings,
        time_format=named.time_format,
        options=TextOptions.of(**text.settings),
    )


def choose_reading(question: Question, *, yes: bool) -> str:
    """Ask on a terminal, or take the first reading with --yes. Raises ConfigError where there is neither."""
    from hardneg.errors import ConfigError

    first, readings = question.readings[0], ", ".join(question.readings)
    if yes:
        echo(escape_line(f"{question.text}? {readings}: {first} is taken (--yes); else {question.flags[-1]}"), err=True)
        return first
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        flags = " or ".join(question.flags)
        raise ConfigError(f"{question.text}? Found {readings}, expected one; say {flags}, or --yes for the first")
    listed = "".join(f"\n  {number} {escape_line(name)}" for number, name in enumerate(question.readings, 1))
    echo(f"{escape_line(question.text)}?{listed}", err=True)
    while True:
        number: int = typer.prompt("Number", type=int, default=1, err=True)
        if 1 <= number <= len(question.readings):
            return question.readings[number - 1]


def _emit_answer(shared: OutputOptions, answer: Answer, out: Path) -> None:
    table = answer.results.tables[0]
    values = {
        "chosen": answer.chosen,
        "conclusions": answer.conclusions,
        "rows": table.frame.to_dicts(),
        "commands": [shlex.join(["hardneg", *words]) for words in answer.commands],
        "page": str(answer.page),
        "out": str(out),
    }
    shared.emit(values, render_table(table.headers, table.cells))
    if shared.as_json:
        return
    for number, conclusion in enumerate(answer.conclusions):
        console().print(Text(conclusion, style="" if number else "bold"))
    console().print(f"Written: {answer.page}, {answer.readme}, {out / 'model'}, {out / 'study'}", markup=False)
    for words in answer.commands:
        emit_following(words)
