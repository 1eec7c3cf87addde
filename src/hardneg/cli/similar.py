"""`hardneg similar`: the items nearest to an item."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hardneg.cli.common import ReadingOptions
from hardneg.cli.options import RunArgument
from hardneg.cli.output import console, render_table
from hardneg.plain_text import escape_line


def similar_command(
    shared: ReadingOptions,
    run: RunArgument,
    item: Annotated[str, Argument(help="item_id of the source file.")],
    k: Annotated[int, Option("-k", min=1, max=10_000, help="Number of items.")] = 10,
    vectors: Annotated[
        Path | None,
        Option(
            help="Vectors folder of the run's split, or a file of your own item vectors (.npy, .parquet), to compare in "
            "place of the run's item embeddings."
        ),
    ] = None,
) -> None:
    """Print the items nearest to an item, by the cosine of their embeddings or encoded texts.

    The embeddings of a run show which items its users have in common; texts show which items are described alike.

    Examples:

    `hardneg similar runs/mixgcf B00A -k 5`

    `hardneg similar runs/mixgcf B00A --vectors out/vectors`
    """
    from dataclasses import asdict

    from hardneg import pipeline

    best = pipeline.find_similar_items(run, item, k, vectors)
    shown = best.table if any(best.table["title"]) else best.table.drop("title")
    cells = [[*map(str, row[:-1]), f"{row[-1]:.4f}"] for row in shown.iter_rows()]
    if not shared.as_json:
        without = f"; {best.without:,} items without a vector are left out" if best.without else ""
        console().print(
            f"Nearest to {escape_line(f'{item} {best.title}'.strip())}, by {best.by}{without}", markup=False
        )
    values = asdict(best) | {"table": best.table.to_dicts()}
    following = ("recommend", run, "--all", "--out", "recs.parquet")
    shared.emit(values, render_table(shown.columns, cells, left=("title",)), following)
