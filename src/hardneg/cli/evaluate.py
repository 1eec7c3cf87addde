"""`hardneg evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import JsonOption, ThreadsOption, configure_torch, console, emit, table
from hardneg.errors import ConfigError


@dataclass(frozen=True)
class ScoringOptions:
    """A run, its split, and how it is scored."""

    run: Path
    split: Path
    depths: list[int]
    mask_valid: bool
    shortlist: bool

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric at every depth."""
        from hardneg.fitting import METRIC_NAMES

        return tuple(f"{metric}@{depth}" for metric in METRIC_NAMES for depth in self.depths)


def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    split: Annotated[Path, typer.Option(help="Split folder that the run was trained on.")],
    k: Annotated[
        list[int] | None, typer.Option("-k", show_default="10 20", help="Depth of the ranking. Repeatable.")
    ] = None,
    mask_valid: Annotated[
        bool, typer.Option("--mask-valid", help="Mask validation pairs as well as train pairs.")
    ] = False,
    shortlist: Annotated[
        bool,
        typer.Option(
            "--shortlist",
            help="Rank in 16 bits first: faster with bfloat16 hardware, equal but for ties within rounding.",
        ),
    ] = False,
    released_mask: Annotated[
        Path | None,
        typer.Option(
            help="Suspects folder: evaluate a second time under the released mask of DTL-NS, which masks these suspects "
            "unless they are held out. Not a valid evaluation."
        ),
    ] = None,
    mask_threshold: Annotated[
        float | None,
        typer.Option(
            show_default="that of the run, or 0.5",
            help="Probability from which --released-mask masks a suspect, above 0 and at most 1.",
        ),
    ] = None,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Score a run on the test pairs.

    All items are ranked; observed train pairs are masked.

    Examples:

    `hardneg evaluate runs/mixgcf --split data/shop-split -k 10 -k 50`

    `hardneg evaluate runs/mixgcf --split data/shop-split --released-mask out/suspects`
    """
    configure_torch(threads)
    options = ScoringOptions(run, split, k or [10, 20], mask_valid, shortlist)
    if min(options.depths) < 1:
        raise ConfigError(f"found -k {min(options.depths)}, expected 1 or more")
    if released_mask is not None:
        if mask_valid:
            raise ConfigError("found --mask-valid with --released-mask, expected one of them")
        _evaluate_both(options, released_mask, mask_threshold, as_json=as_json)
    elif mask_threshold is not None:
        raise ConfigError("found --mask-threshold without --released-mask; give both, or leave it out")
    else:
        _evaluate(options, as_json=as_json)


def _evaluate(options: ScoringOptions, *, as_json: bool) -> None:
    from hardneg import pipeline
    from hardneg.data.dataset import read_parquet
    from hardneg.fitting import METRIC_NAMES

    folder = pipeline.evaluate_run(
        options.run, options.split, options.metrics, mask_valid=options.mask_valid, shortlist=options.shortlist
    )
    frame = read_parquet(folder / "metrics.parquet")
    per_user = read_parquet(folder / "per_user.parquet")
    cells = [
        [metric, *(f"{frame.filter(metric=metric, k=depth)['value'].item():.4f}" for depth in options.depths)]
        for metric in METRIC_NAMES
    ]
    headers = [f"{len(per_user):,} test users", *(f"@{depth}" for depth in options.depths)]
    values = {"users": len(per_user), "metrics": frame.to_dicts(), "out": str(folder)}
    emit(values, as_json=as_json, text=table(headers, cells))
    _emit_end(folder, per_user["user_id"][0], options.run, as_json=as_json)


def _evaluate_both(options: ScoringOptions, suspects: Path, threshold: float | None, *, as_json: bool) -> None:
    """Print the evaluation beside that under the released mask."""
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.data.dataset import read_parquet
    from hardneg.pipeline.released import KIND

    run, split, metrics = options.run, options.split, options.metrics
    standard = pipeline.evaluate_run(run, split, metrics, shortlist=options.shortlist)
    released = pipeline.evaluate_released(
        run, split, suspects, metrics, threshold=threshold, shortlist=options.shortlist
    )
    notes = read_manifest(released, KIND)["notes"]
    frames = [read_parquet(folder / "metrics.parquet") for folder in (standard, released)]
    cells = [
        [name, f"{value:.4f}", f"{masked:.4f}", f"{masked / value - 1:+.1%}" if value else "–"]
        for name, value, masked in zip(metrics, *(frame["value"] for frame in frames), strict=True)
    ]
    if not as_json:
        console().print(notes["warning"], style="bold red", markup=False)
    values = {"protocol": "released-dtl", "honest": False, **notes, "metrics": frames[1].to_dicts()}
    headers = ["", "train mask", "RELEASED MASK (not valid)", "effect of the mask"]
    emit(
        values | {"honest metrics": frames[0].to_dicts(), "out": str(released)},
        as_json=as_json,
        text=table(headers, cells),
    )
    _emit_end(released, read_parquet(standard / "per_user.parquet")["user_id"][0], run, as_json=as_json)


def _emit_end(folder: Path, user_id: str, run: Path, *, as_json: bool) -> None:
    if not as_json:
        emit({}, as_json=False, text=f"Written: {folder}", following=("recommend", run, "--user", user_id))
