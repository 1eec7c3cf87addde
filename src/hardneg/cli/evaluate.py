"""`hardneg evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import CpuOptions, OutputOptions, console, render_table
from hardneg.errors import ConfigError


@dataclass(frozen=True)
class ScoringOptions:
    """A run, its split, and how it is scored."""

    run: Annotated[Path, typer.Argument(help="Run folder.")]
    split: Annotated[Path, typer.Option(help="Split folder that the run was trained on.")]
    k: Annotated[
        list[int] | None, typer.Option("-k", show_default="10 20", help="Depth of the ranking. Repeatable.")
    ] = None
    mask_valid: Annotated[bool, typer.Option("--mask-valid", help="Mask validation pairs as well as train pairs.")] = (
        False
    )
    shortlist: Annotated[
        bool,
        typer.Option(
            "--shortlist",
            help="Rank in 16 bits first: faster with bfloat16 hardware, equal but for ties within rounding.",
        ),
    ] = False

    @property
    def depths(self) -> list[int]:
        """Depths of the ranking. Raises ConfigError where one is below 1."""
        depths = self.k or [10, 20]
        if min(depths) < 1:
            raise ConfigError(f"found -k {min(depths)}, expected 1 or more")
        return depths

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric at every depth."""
        from hardneg.fitting import METRIC_NAMES

        return tuple(f"{metric}@{depth}" for metric in METRIC_NAMES for depth in self.depths)


def evaluate_command(
    shared: CpuOptions,
    scoring: ScoringOptions,
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
) -> None:
    """Score a run on the test pairs.

    All items are ranked; observed train pairs are masked.

    Examples:

    `hardneg evaluate runs/mixgcf --split data/shop-split -k 10 -k 50`

    `hardneg evaluate runs/mixgcf --split data/shop-split --released-mask out/suspects`
    """
    from hardneg import pipeline

    if released_mask is None and mask_threshold is not None:
        raise ConfigError("found --mask-threshold without --released-mask; give both, or leave it out")
    if released_mask is not None and scoring.mask_valid:
        raise ConfigError("found --mask-valid with --released-mask, expected one of them")
    folder = pipeline.evaluate_run(
        scoring.run, scoring.split, scoring.metrics, mask_valid=scoring.mask_valid, shortlist=scoring.shortlist
    )
    if released_mask is None:
        _emit_evaluation(shared, scoring, folder)
        return
    stage = pipeline.released_stage(
        scoring.run,
        scoring.split,
        released_mask,
        scoring.metrics,
        threshold=mask_threshold,
        shortlist=scoring.shortlist,
    )
    _emit_both(shared, scoring, folder, stage.run(scoring.run / pipeline.RELEASED, replace=True))


def _emit_evaluation(shared: OutputOptions, scoring: ScoringOptions, folder: Path) -> None:
    from hardneg.data.dataset import read_parquet
    from hardneg.fitting import METRIC_NAMES

    frame, per_user = (read_parquet(folder / f"{name}.parquet") for name in ("metrics", "per_user"))
    cells = [
        [metric, *(f"{frame.filter(metric=metric, k=depth)['value'].item():.4f}" for depth in scoring.depths)]
        for metric in METRIC_NAMES
    ]
    headers = [f"{len(per_user):,} test users", *(f"@{depth}" for depth in scoring.depths)]
    following = ("recommend", scoring.run, "--user", per_user["user_id"][0])
    values = {"users": len(per_user), "metrics": frame.to_dicts(), "out": str(folder)}
    shared.emit(values, render_table(headers, cells), following, written=folder)


def _emit_both(shared: OutputOptions, scoring: ScoringOptions, folder: Path, released: Path) -> None:
    """Print the evaluation beside that under the released mask."""
    from hardneg.cli.common import read_notes
    from hardneg.data.dataset import read_parquet
    from hardneg.pipeline.released import KIND

    notes = read_notes(released, KIND)
    frames = [read_parquet(path / "metrics.parquet") for path in (folder, released)]
    cells = [
        [name, f"{value:.4f}", f"{masked:.4f}", f"{masked / value - 1:+.1%}" if value else "–"]
        for name, value, masked in zip(scoring.metrics, *(frame["value"] for frame in frames), strict=True)
    ]
    if not shared.as_json:
        console().print(notes["warning"], style="bold red", markup=False)
    values = {"protocol": "released-dtl", "honest": False, **notes, "out": str(released)}
    values |= {"metrics": frames[1].to_dicts(), "honest metrics": frames[0].to_dicts()}
    headers = ["", "train mask", "RELEASED MASK (not valid)", "effect of the mask"]
    shared.emit(
        values, render_table(headers, cells), ("evaluate", scoring.run, "--split", scoring.split), written=released
    )
