"""`hardneg demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from hardneg.cli.common import JsonOption, bars, console, emit, table

WIDE = 150
"""Columns of a terminal that hold the whole table."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("out/demo"),
    text: Annotated[
        Literal["informative", "weak", "misleading"], typer.Option(help="How far the store's texts tell of taste.")
    ] = "informative",
    seeds: Annotated[int, typer.Option(min=3, help="Runs of every row, with seeds 0, 1, ...")] = 3,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side, one thread each.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Run the whole story on a simulated store: a table here, and OUT/report.html.

    Takes a few minutes on two cores and fetches nothing. What stands in OUT is not made again.

    Example: `hardneg demo --text misleading --out out/misleading`
    """
    from hardneg.cli.common import use_threads
    from hardneg.demo import METRICS, run_demo

    use_threads(workers)
    with bars() as bar:
        made = run_demo(
            out,
            text=text,
            seeds=seeds,
            workers=workers,
            progress=bar,
            finished=lambda done, total, _: bar("training runs", done, total),
        )
    values = {"rows": made.frame.to_dicts(), "metrics": METRICS, "page": str(made.page)}
    emit(values, as_json=as_json, text=_table(made.headers, made.cells))
    if not as_json:
        for question, answer in made.answers:
            console().print(f"[bold]{question}[/bold] {answer}")
        console().print(f"\nThe page: {made.page}")


def _table(headers: list[str], cells: list[list[str]]) -> Table:
    """All columns where the terminal is wide, else those that answer the question."""
    if console().width >= WIDE:
        return table(headers, cells)
    narrow = [
        place for place, header in enumerate(headers) if not header.startswith(("Recall", "users", "nearest", "s /"))
    ]
    return table([headers[i] for i in narrow], [[row[i] for i in narrow] for row in cells])
