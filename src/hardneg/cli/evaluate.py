"""`hardneg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hardneg.cli.common import JsonOption, ThreadsOption, console, emit, table, use_threads


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
    protocol: Annotated[
        Literal["honest", "released-dtl"],
        typer.Option(help="released-dtl: the mask of DTL-NS's released code, to show what it is worth. Not honest."),
    ] = "honest",
    suspects: Annotated[Path | None, typer.Option(help="Of released-dtl: the suspects folder that it masks.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Of released-dtl: probability from which a suspect is masked [the run's own, or 0.5]."),
    ] = None,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Score a run on the test pairs: all items ranked, observed train pairs masked.

    Examples:

    `hardneg evaluate runs/mixgcf --split data/shop-split -k 10 -k 50`

    `hardneg evaluate runs/mixgcf --split data/shop-split --protocol released-dtl --suspects out/suspects`
    """
    from hardneg import api, pipeline
    from hardneg.data.dataset import read_parquet
    from hardneg.errors import ConfigError

    use_threads(threads)
    depths = k or [10, 20]
    if min(depths) < 1:
        raise ConfigError(f"found -k {min(depths)}, expected 1 or more")
    metrics = tuple(f"{metric}@{depth}" for metric in api.METRICS for depth in depths)
    if protocol != "honest":
        _released(run, split, suspects, metrics, threshold, mask_valid=mask_valid, shortlist=shortlist, as_json=as_json)
        return
    for name, given in (("suspects", suspects), ("threshold", threshold)):
        if given is not None:
            raise ConfigError(f"found --{name}, which an honest evaluation has no use for; leave it out")
    folder = pipeline.evaluate_run(run, split, metrics, mask_valid=mask_valid, shortlist=shortlist)
    frame = read_parquet(folder / "metrics.parquet")
    users = len(read_parquet(folder / "per_user.parquet"))
    cells = [
        [metric, *(f"{frame.filter(metric=metric, k=depth)['value'].item():.4f}" for depth in depths)]
        for metric in api.METRICS
    ]
    headers = [f"{users:,} test users", *(f"@{depth}" for depth in depths)]
    emit({"users": users, "metrics": frame.to_dicts()}, as_json=as_json, text=table(headers, cells))


def _released(
    run: Path,
    split: Path,
    suspects: Path | None,
    metrics: tuple[str, ...],
    threshold: float | None,
    *,
    mask_valid: bool,
    shortlist: bool,
    as_json: bool,
) -> None:
    """Both protocols side by side, the released one marked."""
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.data.dataset import read_parquet
    from hardneg.errors import ConfigError
    from hardneg.pipeline.released import KIND

    if suspects is None or mask_valid:
        wrong = "--mask-valid, which is no part of it" if mask_valid else "no suspects, whose mask it is"
        raise ConfigError(f"--protocol released-dtl found {wrong}; give --suspects alone")
    honest = pipeline.evaluate_run(run, split, metrics, shortlist=shortlist)
    made = pipeline.evaluate_released(run, split, suspects, metrics, threshold=threshold, shortlist=shortlist)
    notes = read_manifest(made, KIND)["notes"]
    frames = [read_parquet(folder / "metrics.parquet") for folder in (honest, made)]
    values = [frame["value"].to_list() for frame in frames]
    lift = [one / other - 1 if other else None for other, one in zip(*values, strict=True)]
    cells = [
        [name, f"{one:.4f}", f"{other:.4f}", "–" if more is None else f"{more:+.1%}"]
        for name, one, other, more in zip(metrics, *values, lift, strict=True)
    ]
    if not as_json:
        console().print(notes["warning"], style="bold red", markup=False)
    said = {"protocol": "released-dtl", "honest": False, **notes}
    listed = {"metrics": frames[1].to_dicts(), "honest metrics": frames[0].to_dicts(), "out": str(made)}
    headers = ["", "honest mask", "RELEASED MASK (not honest)", "what the mask alone adds"]
    emit({**said, **listed}, as_json=as_json, text=table(headers, cells))
