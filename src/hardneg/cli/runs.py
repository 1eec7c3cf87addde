"""Commands on a trained run: `hardneg fuse`, `rerank` and `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from hardneg.cli.common import CpuOptions, OutputOptions, run_stage
from hardneg.cli.options import RunArgument
from hardneg.cli.output import console, echo, render_table, warn_if_slower
from hardneg.errors import ConfigError


def fuse_command(
    shared: CpuOptions,
    split: Annotated[Path, Option(help="Split folder that the run was trained on.")],
    run: Annotated[Path | None, Argument(help="Run folder of a trained model; none with --text-only.")] = None,
    vectors: Annotated[Path, Option(help="Vectors folder of the split.")] = Path("out/vectors"),
    text_only: Annotated[bool, Option("--text-only", help="Baseline: score by text alone.")] = False,
    weight: Annotated[
        list[float] | None,
        Option(show_default="0 1 2 4 8 16 32", help="Candidate weight g of the text similarity. Repeatable."),
    ] = None,
    select: Annotated[
        str, Option(help="Validation metric that selects the weight, for example ndcg@20.")
    ] = "recall@20",
    profile: Annotated[
        Literal["profiles", "items"],
        Option(help="Vector of a user: the encoded profile, or the mean of the user's train items."),
    ] = "profiles",
    center: Annotated[
        bool, Option("--center/--no-center", help="Subtract the mean of profiles and of item texts.")
    ] = True,
    out: Annotated[Path, Option(help="Run folder to write.")] = Path("runs/fused"),
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
    values: dict[str, Any] = {"select": select, "profile": profile, "centred": center}
    values |= {"weights": weight} if weight else {}
    config = parse_config(pipeline.FusionConfig, values, where="hardneg fuse")
    if run is None:
        stage = pipeline.text_only_stage(split, vectors, config)
    else:
        stage = pipeline.fuse_stage(run, split, vectors, config)
    notes = run_stage(stage, out)
    tried = ", ".join(f"{value:.4f}" + (f" at {g}" if run else "") for g, value in notes["on validation"].items())
    method = "text alone" if run is None else f"weight {notes['weight']:g}"
    text = f"{method} (validation {select}: {tried})"
    shared.emit_folder(out, notes, text, ("evaluate", out, "--split", split))


def rerank_command(
    shared: CpuOptions,
    run: RunArgument,
    split: Annotated[Path, Option(help="Split folder that the run was trained on.")],
    suspects: Annotated[Path, Option(help="Suspects folder with judged candidates of the split.")],
    weight: Annotated[
        list[float] | None,
        Option(show_default="0 0.125 0.25 0.5 1 2 4 8", help="Candidate weight g of the judge's score. Repeatable."),
    ] = None,
    select: Annotated[str, Option(help="Validation metric that selects the weight.")] = "ndcg@20",
    out: Annotated[Path, Option(help="Run folder to write.")] = Path("runs/reranked"),
) -> None:
    """Rerank the judged candidates of a run without training.

    The judged candidates of a user are ordered by the run's score plus g times the judge's score, and exchange their places; other items keep theirs. The weight g is selected on validation pairs. A run fused with text can be reranked as well. The result is a run folder.

    Example: `hardneg rerank runs/mixgcf --split data/shop-split --suspects out/suspects --out runs/mixgcf-reranked`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.pipeline.reranking import UNCHANGED

    values: dict[str, Any] = {"select": select} | ({"weights": weight} if weight else {})
    config = parse_config(pipeline.RerankConfig, values, where="hardneg rerank")
    notes = run_stage(pipeline.rerank_stage(run, split, suspects, config), out)
    tried = ", ".join(f"{value:.4f} at {g}" for g, value in notes["on validation"].items())
    text = f"weight {notes['weight']:g} (validation {select}: {tried})"
    text += f"; {UNCHANGED}: {notes[UNCHANGED]}" if UNCHANGED in notes else ""
    shared.emit_folder(out, notes, text, ("evaluate", out, "--split", split))


@dataclass(frozen=True)
class ScoringOptions:
    """A run, its split, and how it is scored."""

    run: RunArgument
    split: Annotated[Path, Option(help="Split folder that the run was trained on.")]
    k: Annotated[list[int] | None, Option("-k", show_default="10 20", help="Depth of the ranking. Repeatable.")] = None
    mask_valid: Annotated[bool, Option("--mask-valid", help="Mask validation pairs as well as train pairs.")] = False
    shortlist: Annotated[
        bool | None,
        Option(
            "--shortlist/--exact",
            show_default="exact, unless the other is clearly faster here",
            help="Rank in 16 bits first: faster with bfloat16 hardware, equal but for ties within rounding.",
        ),
    ] = None

    @property
    def depths(self) -> list[int]:
        """Depths of the ranking. Raises ConfigError where one is out of range."""
        from hardneg.config import MAX_DEPTH

        depths = self.k or [10, 20]
        if not 1 <= min(depths) <= max(depths) <= MAX_DEPTH:
            raise ConfigError(f"found -k from {min(depths)} to {max(depths)}, expected 1 to {MAX_DEPTH:,}")
        return depths

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric at every depth."""
        from hardneg.fitting import METRIC_NAMES

        return tuple(dict.fromkeys(f"{metric}@{depth}" for metric in METRIC_NAMES for depth in self.depths))


def evaluate_command(
    shared: CpuOptions,
    scoring: ScoringOptions,
    released_mask: Annotated[
        Path | None,
        Option(
            help="Suspects folder: evaluate a second time under the released mask of DTL-NS, which masks these suspects "
            "unless they are held out. Not a valid evaluation."
        ),
    ] = None,
    mask_threshold: Annotated[
        float | None,
        Option(
            show_default="that of the run, or 0.5",
            help="Probability from which --released-mask masks a suspect, above 0 and at most 1.",
        ),
    ] = None,
) -> None:
    """Score a run on the test pairs.

    All items are ranked; observed train pairs are masked. Further depths are added to an earlier evaluation under the same mask; --mask-valid has a folder of its own. A run that is clearly below the most popular items is named.

    Examples:

    `hardneg evaluate runs/mixgcf --split data/shop-split -k 10 -k 50`

    `hardneg evaluate runs/mixgcf --split data/shop-split --released-mask out/suspects`
    """
    from hardneg import pipeline

    if released_mask is None and mask_threshold is not None:
        raise ConfigError("found --mask-threshold without --released-mask; give both, or leave it out")
    if released_mask is not None and scoring.mask_valid:
        raise ConfigError("found --mask-valid with --released-mask, expected one of them")
    run, split, metrics, shortlist = scoring.run, scoring.split, scoring.metrics, scoring.shortlist
    folder = pipeline.evaluate_run(run, split, metrics, mask_valid=scoring.mask_valid, shortlist=shortlist)
    if released_mask is None:
        _emit_evaluation(shared, scoring, folder)
        return
    stage = pipeline.released_stage(run, split, released_mask, metrics, threshold=mask_threshold, shortlist=shortlist)
    notes = run_stage(stage, run / pipeline.RELEASED, replace=True)
    _emit_both(shared, scoring, folder, notes)


def _emit_evaluation(shared: OutputOptions, scoring: ScoringOptions, folder: Path) -> None:
    import polars as pl

    from hardneg.artifacts import read_manifest
    from hardneg.data.dataset import read_parquet
    from hardneg.fitting import METRIC_NAMES
    from hardneg.pipeline.inference import BELOW, EVALUATION

    frame, per_user = (read_parquet(folder / f"{name}.parquet") for name in ("metrics", "per_user"))
    frame = frame.filter(pl.col("k").is_in(scoring.depths))
    notes = read_manifest(folder, EVALUATION)["notes"]
    cells = [
        [metric, *(f"{frame.filter(metric=metric, k=depth)['value'].item():.4f}" for depth in scoring.depths)]
        for metric in METRIC_NAMES
    ]
    headers = [f"{len(per_user):,} test users", *(f"@{depth}" for depth in scoring.depths)]
    following = ("recommend", scoring.run, "--user", per_user["user_id"][0])
    values = {"users": len(per_user), "metrics": frame.to_dicts(), **notes, "out": str(folder)}
    if BELOW in notes:
        echo(f"WARNING: {BELOW}: {notes[BELOW]}", err=True)
    if scoring.shortlist:
        warn_if_slower(notes)
    shared.emit(values, render_table(headers, cells), following, written=folder)


def _emit_both(shared: OutputOptions, scoring: ScoringOptions, folder: Path, notes: dict[str, Any]) -> None:
    """Print the evaluation beside that under the released mask, whose notes are given."""
    import polars as pl

    from hardneg.data.dataset import read_parquet
    from hardneg.pipeline import RELEASED

    released = scoring.run / RELEASED
    name = pl.concat_str("metric", "k", separator="@")
    frames = [
        read_parquet(path / "metrics.parquet")
        .filter(name.is_in(scoring.metrics))
        .sort(name.cast(pl.Enum(scoring.metrics)))
        for path in (folder, released)
    ]
    cells = [
        [name, f"{value:.4f}", f"{masked:.4f}", f"{masked / value - 1:+.1%}" if value else "–"]
        for name, value, masked in zip(scoring.metrics, *(frame["value"] for frame in frames), strict=True)
    ]
    if not shared.as_json:
        console().print(notes["warning"], style="bold red", markup=False)
    values = {"protocol": "released-dtl", "honest": False, **notes}
    table = render_table(["", "train mask", "RELEASED MASK (not valid)", "effect of the mask"], cells)
    following, frame_values = (
        ("evaluate", scoring.run, "--split", scoring.split),
        [frame.to_dicts() for frame in frames],
    )
    metrics = {"metrics": frame_values[1], "honest metrics": frame_values[0]}
    shared.emit_folder(released, values, table, following, **metrics)
