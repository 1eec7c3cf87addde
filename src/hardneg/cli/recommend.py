"""`hardneg recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import OutputOptions, render_table


def recommend_command(
    shared: OutputOptions,
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    user: Annotated[str, typer.Option(help="user_id of the source file.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Number of items.")] = 20,
) -> None:
    """Print the best items that a user does not have.

    Items have their item_id of the source file.

    Example: `hardneg recommend runs/mixgcf --user A2XZ -k 10`
    """
    from hardneg import pipeline

    best = pipeline.recommend(run, user, k)
    cells = [[str(rank), item, f"{score:.4f}"] for rank, item, score in best.iter_rows()]
    following = ("audit", "run", run, "--split", "SPLIT")
    shared.emit(best.to_dicts(), render_table(["rank", "item_id", "score"], cells), following)
