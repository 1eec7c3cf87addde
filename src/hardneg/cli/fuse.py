"""`hardneg fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hardneg.cli.common import CpuOptions, read_notes
from hardneg.errors import ConfigError


def fuse_command(
    shared: CpuOptions,
    split: Annotated[Path, typer.Option(help="Split folder that the run was trained on.")],
    run: Annotated[Path | None, typer.Argument(help="Run folder of a trained model; none with --text-only.")] = None,
    vectors: Annotated[Path, typer.Option(help="Vectors folder of the split.")] = Path("out/vectors"),
    text_only: Annotated[bool, typer.Option("--text-only", help="Baseline: score by text alone.")] = False,
    weight: Annotated[
        list[float] | None,
        typer.Option(show_default="0 1 2 4 8 16 32", help="Candidate weight g of the text similarity. Repeatable."),
    ] = None,
    select: Annotated[
        str, typer.Option(help="Validation metric that selects the weight, for example ndcg@20.")
    ] = "recall@20",
    profile: Annotated[
        Literal["profiles", "items"],
        typer.Option(help="Vector of a user: the encoded profile, or the mean of the user's train items."),
    ] = "profiles",
    center: Annotated[
        bool, typer.Option("--center/--no-center", help="Subtract the mean of profiles and of item texts.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Run folder to write.")] = Path("runs/fused"),
) -> None:
    """Add text to a trained model without training (late fusion).

    The score is that of the model plus g times the cosine of user profile and item text. The weight g is selected on validation pairs. The result is a run folder.

    Examples:

    `hardneg fuse runs/mixgcf --split data/shop-split --vectors out/vectors --out runs/mixgcf-fused`

    `hardneg fuse --text-only --split data/shop-split --vectors out/vectors --out runs/text-only`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config

    if (run is None) != text_only or (text_only and weight):
        found = "neither RUN nor" if run is None and not text_only else "RUN or --weight with"
        raise ConfigError(f"found {found} --text-only, expected a run, or --text-only without run and weight")
    weights = {"weights": weight} if weight else {}
    values: dict[str, Any] = {"select": select, "profile": profile, "centred": center, **weights}
    config: pipeline.FusionConfig = parse_config(pipeline.FusionConfig, values, where="hardneg fuse")
    if run is None:
        pipeline.text_only_stage(split, vectors, config).run(out)
    else:
        pipeline.fuse_stage(run, split, vectors, config).run(out)
    notes = read_notes(out, pipeline.RUN)
    tried = ", ".join(f"{value:.4f}" + (f" at {g}" if run else "") for g, value in notes["on validation"].items())
    method = "text alone" if run is None else f"weight {notes['weight']:g}"
    text = f"{out}: {method} (validation {select}: {tried})"
    shared.emit({**notes, "out": str(out)}, text, ("evaluate", out, "--split", split))
