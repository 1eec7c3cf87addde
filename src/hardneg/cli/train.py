"""`hardneg train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from hardneg.cli.common import DeviceOptions, run_stage
from hardneg.cli.options import Pairs, SplitArgument, pairs_option
from hardneg.cli.output import echo, show_progress, warn_if_slower

ALLOW_EMPTY = {"sampler": {"allow_empty": True}}


@dataclass(frozen=True)
class TrainOptions:
    """The split, settings and folders of a run."""

    split: SplitArgument
    config: Annotated[
        Path | None,
        Option(
            help="YAML file with model, sampler, fit, suspects, anchor and folders, or a run folder, whose settings are taken; "
            "single options replace its values."
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            show_default="lightgcn",
            help="Backbone, such as mf, lightgcn, sgl or kar: see `hardneg options backbone`; or an entry point or "
            "module:Class.",
        ),
    ] = None
    sampler: Annotated[
        str | None,
        Option(
            show_default="uniform",
            help="Sampler, such as uniform, dns, mixgcf or semantic: see `hardneg options sampler`; or an entry point or "
            "module:Class.",
        ),
    ] = None
    settings: Annotated[
        Pairs,
        pairs_option(
            "Any setting: sampler.candidates, model.hops, fit.patience, fit.batch_size, fit.l2, fit.loss.kind, fit.candidates.kind, suspects.weight, "
            "suspects.strength, anchor.weight, ..."
        ),
    ] = None
    negatives: Annotated[
        Path | None, Option(help="Negatives folder for the sampler semantic, neighbours folder for semantic-mixing.")
    ] = None
    allow_empty: Annotated[
        bool,
        Option("--allow-empty", help="Accept negatives of which most pairs have no vector, or items no neighbour."),
    ] = False
    suspects: Annotated[Path | None, Option(help="Suspects folder; needs --use-suspects.")] = None
    use_suspects: Annotated[
        Literal["exclude", "positives", "both", "penalize", "weigh", "triplets"] | None,
        Option(
            help="Use of suspects: exclude them from the candidates, train on them as positives, or both; or, by the "
            "probability p of every judged candidate, penalize: draw it less often; weigh: lower its weight in the loss, "
            "both by (1 - p)^suspects.strength; triplets: add BPR of each user's likeliest and unlikeliest candidate."
        ),
    ] = None
    trees: Annotated[
        Path | None, Option(help="Trees folder for the sampler multi-view, and for alpha_c and alpha_s of others.")
    ] = None
    vectors: Annotated[
        Path | None,
        Option(
            help="Vectors folder, for a model that reads text, such as kar or rlmrec-con; with --set anchor.weight=W, item "
            "embeddings of another model start at the item texts and stay near them."
        ),
    ] = None
    truth: Annotated[
        Path | None, Option(help="Simulated dataset folder; false negatives among the sampled negatives are counted.")
    ] = None
    epochs: Annotated[
        int | None, Option(min=1, max=10_000_000, show_default="300", help="Maximum number of epochs.")
    ] = None
    seed: Annotated[int | None, Option(show_default="0", help="Random seed of the run.")] = None
    out: Annotated[Path | None, Option(show_default="runs/MODEL-SAMPLER[-USE]-seedN", help="Run folder to write.")] = (
        None
    )


def train_command(shared: DeviceOptions, options: TrainOptions) -> None:
    """Train a backbone with a negative sampler.

    An interrupted command continues from its last checkpoint. The same command with a higher --epochs goes on from the
    finished run and replaces it; with --config RUN and another --out it keeps that run.

    Examples:

    `hardneg train data/shop-split --sampler mixgcf --set sampler.candidates=16 --out runs/mixgcf`

    `hardneg train data/shop-split --sampler semantic --negatives out/negatives --set sampler.alpha=0.2`

    `hardneg train data/shop-split --model kar --vectors out/vectors`

    `hardneg train data/shop-split --suspects out/suspects --use-suspects both --set suspects.weight=0.5`

    `hardneg train data/shop-split --sampler dns --suspects out/suspects --use-suspects penalize`

    `hardneg train data/other-split --config runs/mixgcf --seed 1`

    `hardneg train data/shop-split --config runs/mixgcf --epochs 600 --out runs/mixgcf`
    """
    from hardneg import pipeline
    from hardneg.cli.config_files import read_run_file
    from hardneg.config import overrides
    from hardneg.pipeline.suspect_use import suspects_warning

    fit = {name: value for name in ("epochs", "seed") if (value := getattr(options, name)) is not None}
    config, folders = read_run_file(
        options.config,
        kinds={"model": options.model, "sampler": options.sampler},
        use_suspects=options.use_suspects,
        settings=[{"fit": fit}, overrides(options.settings or []), *([ALLOW_EMPTY] if options.allow_empty else [])],
        folders={name: getattr(options, name) for name in ("negatives", "suspects", "trees", "vectors", "truth")},
    )
    used = [] if config.suspects is None else [config.suspects.use]
    names = [part.kind.rpartition(":")[2] for part in (config.model, config.sampler)]
    out = options.out or Path("runs") / "-".join([*names, *used, f"seed{config.fit.seed}"])
    if folders.suspects is not None and (warning := suspects_warning(folders.suspects, config.suspects)):
        echo(f"WARNING: {folders.suspects}: {warning}", err=True)
    with show_progress(count=False) as progress:
        watch = progress.watch_training(config.fit.epochs)
        stage = pipeline.train_stage(options.split, config, **folders.model_dump(), device=shared.device, watch=watch)
        notes = run_stage(stage, out, earlier=options.config)
    warn_if_slower(notes)
    text = _describe_run(notes, config.fit.select)
    shared.emit_folder(out, notes, text, ("evaluate", out, "--split", options.split))


def _describe_run(notes: Mapping[str, Any], select: str) -> str:
    """Return what a run notes, in one line. select: the validation metric that chose the epoch."""
    from hardneg.pipeline.epoch_limit import CONTINUED, STILL_RISING
    from hardneg.pipeline.suspect_use import UNCHANGED_USERS, WITHOUT_TRIPLET
    from hardneg.pipeline.text import describe_texts
    from hardneg.pipeline.training import STEP_SIZE

    text = f"best epoch {notes['best epoch']} of {notes['epochs']} by validation {select}"
    text += f"; went on after epoch {notes[CONTINUED]}" if CONTINUED in notes else ""
    if raised := notes.get(STEP_SIZE):
        text += f"; batches of {raised['batch_size']:,} pairs with learning rate {raised['learning_rate']:.2g} (fit.max_steps)"
    text += f"; {STILL_RISING}: {notes[STILL_RISING]}" if STILL_RISING in notes else ""
    text += describe_texts(notes)
    if missing := notes.get("pairs without a vector"):
        text += f"; {missing / notes['pairs']:.1%} of the sampled pairs had no text vector and kept a uniform negative"
    if missing := notes.get("positives without a neighbour"):
        text += f"; {missing / notes['pairs mixed with a neighbour']:.1%} of the sampled positives had no neighbour"
    if unchanged := notes.get(UNCHANGED_USERS):
        text += f"; {unchanged:,} users keep their suspects as candidates, since they have no other"
    if missing := notes.get(WITHOUT_TRIPLET):
        text += f"; {missing:,} users have no triplet, since fewer than two of their labels differ"
    return text
