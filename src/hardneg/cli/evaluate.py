"""`hardneg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.shell import JsonOption, ThreadsOption, emit, table, use_threads


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    split: Annotated[Path, typer.Option(help="The split that it was trained on.")],
    k: Annotated[list[int] | None, typer.Option("-k", help="Depths; may be given again. [10, 20]")] = None,
    mask_valid: Annotated[
        bool, typer.Option(help="Mask validation pairs too; by default only train is masked.")
    ] = False,
    shortlist: Annotated[
        bool,
        typer.Option(
            help="Rank by way of 16 bits: the same but for ties within rounding, quicker where the processor has bfloat16."
        ),
    ] = False,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Score a run on the test pairs: all items ranked, observed train pairs masked.

    Example: `hardneg evaluate runs/mixgcf --split data/shop-split -k 10 -k 50`
    """
    from hardneg import api, pipeline
    from hardneg.data.dataset import read_parquet
    from hardneg.errors import ConfigError

    use_threads(threads)
    depths = k or [10, 20]
    if min(depths) < 1:
        raise ConfigError(f"found -k {min(depths)}, expected 1 or more")
    metrics = tuple(f"{metric}@{depth}" for metric in api.METRICS for depth in depths)
    folder = pipeline.evaluate_run(run, split, metrics, mask_valid=mask_valid, shortlist=shortlist)
    frame = read_parquet(folder / "metrics.parquet")
    users = len(read_parquet(folder / "per_user.parquet"))
    cells = [
        [metric, *(f"{frame.filter(metric=metric, k=depth)['value'].item():.4f}" for depth in depths)]
        for metric in api.METRICS
    ]
    headers = [f"{users:,} test users", *(f"@{depth}" for depth in depths)]
    emit({"users": users, "metrics": frame.to_dicts()}, as_json=as_json, text=table(headers, cells))
