"""`hardneg train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads
from hardneg.cli.options import chosen

if TYPE_CHECKING:
    from hardneg.pipeline import SuspectsUse


def train(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    model: Annotated[
        str, typer.Option(help="mf, lightgcn, or a plug-in: its entry point or module:Class.")
    ] = "lightgcn",
    sampler: Annotated[
        str,
        typer.Option(
            help="uniform, dns, ahns, mixgcf, multi-view, semantic, semantic-mixing, or a plug-in: its entry point or module:Class."
        ),
    ] = "uniform",
    out: Annotated[Path | None, typer.Option(help="Run folder to make [runs/MODEL-SAMPLER[-USE]-seedN].")] = None,
    negatives: Annotated[
        Path | None, typer.Option(help="For semantic a negatives folder, for semantic-mixing a neighbours folder.")
    ] = None,
    suspects: Annotated[Path | None, typer.Option(help="Suspects folder; say what for with --use-suspects.")] = None,
    use_suspects: Annotated[
        Literal["exclude", "positives", "both"] | None,
        typer.Option(help="Draw no candidate among the suspects, train on them as positives, or both."),
    ] = None,
    suspects_option: Annotated[
        list[str] | None,
        typer.Option("--suspects-set", help="NAME=VALUE of their use, as threshold=0.7, weight=0.5 or graph=true."),
    ] = None,
    trees: Annotated[
        Path | None, typer.Option(help="Trees folder, for multi-view, and for alpha_c and alpha_s of dns and ahns.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Simulated dataset: measure what is served against its truth.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="Vectors folder of the split: tie the item table to the item texts.")
    ] = None,
    anchor_weight: Annotated[
        float, typer.Option(help="How strongly, with --anchor; 0: items only start at their texts.")
    ] = 0.1,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the sampler, as candidates=16.")
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option("--model-set", help="NAME=VALUE of the model, as hops=2.")
    ] = None,
    fit_option: Annotated[
        list[str] | None, typer.Option("--fit-set", help="NAME=VALUE of training, as patience=10 or select=ndcg@20.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 300,
    batch_size: Annotated[int, typer.Option(min=1, help="Train pairs a step.")] = 2048,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 3e-3,
    l2: Annotated[float, typer.Option(help="Weight of half the squared hop-0 norm.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train a model; killed at any moment, the same command goes on from its last checkpoint.

    Examples:

    `hardneg train data/shop-split --sampler mixgcf --set candidates=16 --out runs/mixgcf`

    `hardneg train data/shop-split --sampler multi-view --trees out/trees --set alpha_s=0.2`

    `hardneg train data/shop-split --sampler semantic --negatives out/negatives --set alpha=0.2`

    `hardneg train data/shop-split --sampler semantic-mixing --negatives out/neighbours --set sampler.kind=dns --set alpha=0.4`

    `hardneg train data/shop-split --suspects out/suspects --use-suspects both --suspects-set weight=0.5`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.config import overrides, parse_config
    from hardneg.models import AnchorConfig, ModelConfig
    from hardneg.pipeline.suspect_use import UNCHANGED_USERS
    from hardneg.sampling import SamplerConfig
    from hardneg.training import FitConfig

    use_threads(threads)
    require_device(device)
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "l2": l2, "seed": seed}
    config = pipeline.RunConfig(
        model=chosen(ModelConfig, model, model_option or [], where="--model"),
        sampler=chosen(SamplerConfig, sampler, option or [], where="--sampler"),
        fit=parse_config(FitConfig, settings | overrides(fit_option or []), where="hardneg train"),
        anchor=None
        if anchor is None
        else parse_config(AnchorConfig, {"weight": anchor_weight}, where="--anchor-weight"),
        suspects=_use(use_suspects, suspects_option or []),
    )
    made_of = [model.rpartition(":")[2], sampler.rpartition(":")[2], *([] if use_suspects is None else [use_suspects])]
    _warn(suspects, config.suspects)
    folder = out or Path("runs") / "-".join([*made_of, f"seed{config.fit.seed}"])
    with bars(count=False) as bar:
        watch = bar.watch(config.fit.epochs)
        pipeline.train_stage(
            split,
            config,
            negatives=negatives,
            suspects=suspects,
            trees=trees,
            truth=truth,
            anchor=anchor,
            device=device,
            watch=watch,
        ).run(folder)
    notes = read_manifest(folder, pipeline.RUN)["notes"]
    text = f"{folder}: kept epoch {notes['best epoch']} of {notes['epochs']} (by validation {config.fit.select})"
    missing = notes.get("pairs without a vector")
    if missing:
        text += f"; {missing / notes['pairs']:.1%} of the pairs served had no text vector and kept a uniform negative"
    alone = notes.get(UNCHANGED_USERS)
    text += f"; {alone:,} users keep their suspects as candidates, because no other would be left" if alone else ""
    emit({**notes, "out": str(folder)}, as_json=as_json, text=text)


def _warn(suspects: Path | None, use: SuspectsUse | None) -> None:
    from hardneg.pipeline.suspect_use import suspects_warning

    if suspects is not None and (said := suspects_warning(suspects, use)):
        typer.echo(f"WARNING: {suspects}: {said}", err=True)


def _use(use: str | None, pairs: list[str]) -> SuspectsUse | None:
    from hardneg.config import overrides, parse_config
    from hardneg.errors import ConfigError
    from hardneg.pipeline import SuspectsUse

    if use is None:
        if pairs:
            raise ConfigError(f"found --suspects-set {pairs[0]!r} without a use; pass --use-suspects too")
        return None
    found: SuspectsUse = parse_config(SuspectsUse, {"use": use, **overrides(pairs)}, where="--suspects-set")
    return found
