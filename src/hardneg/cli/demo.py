"""`hardneg demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardneg.cli.common import OutputOptions, configure_torch, console, emit_following, render_table
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 150
"""Width of a terminal, in columns, that shows the whole table."""


def demo_command(
    shared: OutputOptions,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("out/demo"),
    text: Annotated[
        Literal["informative", "weak", "misleading"], typer.Option(help="How item texts relate to user preferences.")
    ] = "informative",
    seeds: Annotated[int, typer.Option(min=3, help="Number of runs of every row, with seeds 0, 1, ...")] = 3,
    workers: Annotated[int, typer.Option(min=1, help="Number of training processes, one thread each.")] = 2,
) -> None:
    """Compare samplers on a simulated store.

    Prints a table and writes a page, OUT/report.html. Takes a few minutes on two cores and downloads nothing. Finished folders in OUT are reused.

    Example: `hardneg demo --text misleading --out out/misleading`
    """
    from hardneg.demo import METRICS, run_demo

    configure_torch(workers)
    with show_progress() as progress:
        result = run_demo(
            out,
            text=text,
            seeds=seeds,
            workers=workers,
            progress=progress,
            finished=lambda done, total, _: progress("training runs", done, total),
        )
    values = {"rows": result.frame.to_dicts(), "metrics": METRICS, "page": str(result.page)}
    shared.emit(values, _table(result.headers, result.cells))
    if shared.as_json:
        return
    for question, answer in result.answers:
        console().print(f"[bold]{question}[/bold] {answer}")
    console().print(f"\nWritten: {result.page}")
    emit_following(("data", "import", "table", "YOUR-INTERACTIONS.csv"))


def _table(headers: list[str], cells: list[list[str]]) -> Table:
    """Return all columns on a wide terminal, else the most important ones."""
    if console().width >= WIDE:
        return render_table(headers, cells)
    narrow = [
        column for column, header in enumerate(headers) if not header.startswith(("Recall", "users", "nearest", "s /"))
    ]
    return render_table([headers[i] for i in narrow], [[row[i] for i in narrow] for row in cells])
