"""`hardneg train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardneg.cli.common import DeviceOptions, OutputOptions, read_notes
from hardneg.cli.options import Pairs, SplitArgument, pairs_option
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from hardneg.cli.run_config import RunFile
    from hardneg.pipeline import RunConfig


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with model, sampler, fit, suspects, anchor and folders, or a run folder, whose settings are taken; "
        "single options replace its values."
    ),
]
ModelOption = Annotated[
    str | None, typer.Option(show_default="lightgcn", help="Backbone: mf, lightgcn, or an entry point or module:Class.")
]
SamplerOption = Annotated[
    str | None,
    typer.Option(
        show_default="uniform",
        help="Sampler: uniform, dns, ahns, mixgcf, multi-view, semantic, semantic-mixing, or an entry point or "
        "module:Class.",
    ),
]
SettingsOption = Annotated[
    Pairs,
    pairs_option(
        "Any setting: sampler.candidates, model.hops, fit.patience, fit.batch_size, fit.l2, suspects.weight, "
        "anchor.weight, ..."
    ),
]
NegativesOption = Annotated[
    Path | None, typer.Option(help="Negatives folder for the sampler semantic, neighbours folder for semantic-mixing.")
]
SuspectsOption = Annotated[Path | None, typer.Option(help="Suspects folder; needs --use-suspects.")]
UseOption = Annotated[
    Literal["exclude", "positives", "both"] | None,
    typer.Option(help="Use of suspects: exclude them from the candidates, train on them as positives, or both."),
]
TreesOption = Annotated[
    Path | None, typer.Option(help="Trees folder for the sampler multi-view, and for alpha_c and alpha_s of others.")
]
AnchorOption = Annotated[
    Path | None, typer.Option(help="Vectors folder; item embeddings start at the item texts and stay near them.")
]
TruthOption = Annotated[
    Path | None, typer.Option(help="Simulated dataset folder; false negatives among the sampled negatives are counted.")
]
EpochsOption = Annotated[int | None, typer.Option(min=1, show_default="300", help="Maximum number of epochs.")]
SeedOption = Annotated[int | None, typer.Option(show_default="0", help="Random seed of the run.")]
OutOption = Annotated[
    Path | None, typer.Option(show_default="runs/MODEL-SAMPLER[-USE]-seedN", help="Run folder to write.")
]


def train_command(
    shared: DeviceOptions,
    split: SplitArgument,
    config: ConfigOption = None,
    model: ModelOption = None,
    sampler: SamplerOption = None,
    settings: SettingsOption = None,
    negatives: NegativesOption = None,
    suspects: SuspectsOption = None,
    use_suspects: UseOption = None,
    trees: TreesOption = None,
    anchor: AnchorOption = None,
    truth: TruthOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
) -> None:
    """Train a backbone with a negative sampler.

    An interrupted command continues from its last checkpoint.

    Examples:

    `hardneg train data/shop-split --sampler mixgcf --set sampler.candidates=16 --out runs/mixgcf`

    `hardneg train data/shop-split --sampler semantic --negatives out/negatives --set sampler.alpha=0.2`

    `hardneg train data/shop-split --suspects out/suspects --use-suspects both --set suspects.weight=0.5`

    `hardneg train data/other-split --config runs/mixgcf --seed 1`
    """
    from hardneg.cli.run_config import read_run_file
    from hardneg.config import overrides

    given = {"negatives": negatives, "suspects": suspects, "trees": trees, "anchor": anchor, "truth": truth}
    fit = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    file = read_run_file(
        config,
        kinds={"model": model, "sampler": sampler},
        use_suspects=use_suspects,
        settings=[{"fit": fit}, overrides(settings or [])],
        folders=given,
    )
    folder = out or Path("runs") / _run_name(file.config)
    _warn_about_suspects(file)
    with show_progress(count=False) as progress:
        _train(split, folder, file, shared.device, progress.watch_training(file.config.fit.epochs))
    _emit_run(shared, folder, split, file.config)


def _train(split: Path, out: Path, file: RunFile, device: str, watch: Any) -> None:
    from hardneg import pipeline

    pipeline.train_stage(split, file.config, **file.folders.model_dump(), device=device, watch=watch).run(out)


def _run_name(config: RunConfig) -> str:
    use = [] if config.suspects is None else [config.suspects.use]
    names = [part.kind.rpartition(":")[2] for part in (config.model, config.sampler)]
    return "-".join([*names, *use, f"seed{config.fit.seed}"])


def _warn_about_suspects(file: RunFile) -> None:
    from hardneg.pipeline.suspect_use import suspects_warning

    folder = file.folders.suspects
    if folder is not None and (warning := suspects_warning(folder, file.config.suspects)):
        typer.echo(f"WARNING: {folder}: {warning}", err=True)


def _emit_run(shared: OutputOptions, folder: Path, split: Path, config: RunConfig) -> None:
    from hardneg.pipeline import RUN
    from hardneg.pipeline.suspect_use import UNCHANGED_USERS

    notes = read_notes(folder, RUN)
    text = f"{folder}: best epoch {notes['best epoch']} of {notes['epochs']} by validation {config.fit.select}"
    if missing := notes.get("pairs without a vector"):
        text += f"; {missing / notes['pairs']:.1%} of the sampled pairs had no text vector and kept a uniform negative"
    if unchanged := notes.get(UNCHANGED_USERS):
        text += f"; {unchanged:,} users keep their suspects as candidates, since they have no other"
    following = ("evaluate", folder, "--split", split)
    shared.emit({**notes, "out": str(folder)}, text, following)
