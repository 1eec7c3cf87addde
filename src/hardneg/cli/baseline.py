"""`hardneg baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hardneg.cli.common import CpuOptions, run_stage
from hardneg.cli.options import Pairs, SeedOption, SplitArgument, pairs_option


def baseline_command(
    shared: CpuOptions,
    split: SplitArgument,
    kind: Annotated[
        str, Argument(help="Baseline: popularity, item-knn, ease, als, or an entry point or module:Class.")
    ],
    settings: Annotated[Pairs, pairs_option("Any setting: neighbours, l2, alpha, ...")] = None,
    select: Annotated[str, Option(help="Validation metric that is recorded; it chooses nothing.")] = "recall@20",
    seed: SeedOption = 0,
    out: Annotated[Path | None, Option(show_default="runs/KIND", help="Run folder to write.")] = None,
) -> None:
    """Compute a baseline that needs no training loop: popularity, item-kNN, EASE or implicit ALS.

    The result is a run folder: it is evaluated, compared, fused with text and recommends like a trained run. The settings are those of `hardneg options baseline KIND`; the seed matters to als alone.

    Examples:

    `hardneg baseline data/shop-split ease --set l2=300 --out runs/ease`

    `hardneg baseline data/shop-split item-knn --set neighbours=50`
    """
    from hardneg import pipeline
    from hardneg.config import overrides, parse_config

    values = {"baseline": {"kind": kind, **overrides(list(settings or []))}, "select": select, "seed": seed}
    config = parse_config(pipeline.BaselineRunConfig, values, where="hardneg baseline")
    out = out or Path("runs") / kind.rpartition(":")[2]
    notes = run_stage(pipeline.baseline_stage(split, config), out)
    measured = ", ".join(f"{value:.4f}" for value in notes["on validation"].values()) or "no validation pairs"
    shared.emit_folder(out, notes, f"{kind} (validation {select}: {measured})", ("evaluate", out, "--split", split))
