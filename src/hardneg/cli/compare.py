"""`hardneg compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from hardneg.cli.common import CpuOptions
from hardneg.cli.output import console, print_titled, show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from hardneg.studies.run_comparison import RunComparison


def compare_command(
    shared: CpuOptions,
    runs: Annotated[
        list[Path], Argument(help="Run folders, trained on the split and evaluated; the first is the baseline.")
    ],
    split: Annotated[Path, Option(help="Split folder that the runs were trained on.")],
    baseline: Annotated[
        Path | None, Option(show_default="the first run", help="Run that the others are compared with.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        Option(show_default="ndcg@20 recall@20", help="Metric of the evaluations, the deciding one first. Repeatable."),
    ] = None,
    groups: Annotated[
        bool,
        Option("--groups/--no-groups", help="Compare by popularity of the held-out item and by history of the user."),
    ] = True,
    out: Annotated[Path | None, Option(help="Parquet file to write, with all numbers.")] = None,
) -> None:
    """Compare finished runs of one split: differences with intervals and tests, over all users and by groups.

    Runs that differ only in their seed are one method. With three seeds or more, users and seeds are resampled together; with fewer, users alone are compared, pairwise. p is corrected by Holm over the methods of a table.

    Examples:

    `hardneg compare runs/uniform runs/mixgcf --split data/shop-split`

    `hardneg compare runs/a runs/b runs/c --split data/shop-split --metric recall@10 --baseline runs/b`
    """
    from hardneg.studies.run_comparison import DEFAULT_METRICS, compare_finished_runs

    _require_own_file(out)
    with show_progress() as progress:
        comparison = compare_finished_runs(
            runs, split, metrics=tuple(metric or DEFAULT_METRICS), baseline=baseline, groups=groups, progress=progress
        )
    if out is not None:
        _write(comparison.frame, out)
    if not shared.as_json:
        for line in comparison.conclusions:
            console().print(line, style="bold", markup=False)
        for table in comparison.tables:
            print_titled(table.title, table)
    values = {
        "baseline": comparison.baseline,
        "methods": {method.name: list(map(str, method.folders)) for method in comparison.methods},
        "rows": comparison.frame.to_dicts(),
        "conclusions": comparison.conclusions,
        "remarks": comparison.remarks,
    }
    shared.emit(values, "\n".join(comparison.remarks), _following(comparison, split), written=out)


def _following(comparison: RunComparison, split: Path) -> tuple[object, ...]:
    """Return the next command: another seed where there are too few for a test, else recommendations of the best method."""
    from hardneg.evaluation.significance import MIN_SEEDS

    for method in comparison.methods:
        seeds = [seed for seed in method.seeds if seed is not None]
        if seeds and len(seeds) < MIN_SEEDS:
            return ("train", split, "--config", method.folders[0], "--seed", max(seeds) + 1)
    overall = comparison.frame.filter(grouping="all", metric=comparison.frame["metric"][0])
    best = overall.sort("mean", descending=True)["method"][0]
    folder = next(method.folders[0] for method in comparison.methods if method.name == best)
    return ("recommend", folder, "--user", "USER_ID")


def _require_own_file(out: Path | None) -> None:
    """Raise ConfigError where the file to write has another format, or holds something else."""
    import polars as pl

    from hardneg.data.dataset import read_parquet
    from hardneg.studies.run_comparison import SCHEMA

    if out is not None and out.suffix != ".parquet":
        raise ConfigError(f"found --out {out}, expected a name that ends in .parquet; give another --out")
    if out is not None and out.exists() and read_parquet(out).schema != pl.Schema(SCHEMA):
        raise ConfigError(f"{out} holds something else than a comparison; choose another --out or remove it first")


def _write(frame: pl.DataFrame, out: Path) -> None:
    from hardneg.storage import replacing

    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as new:
        frame.write_parquet(new)
