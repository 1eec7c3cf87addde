"""`hardneg train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.options import chosen
from hardneg.cli.shell import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads


def train(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    model: Annotated[str, typer.Option(help="mf or lightgcn.")] = "lightgcn",
    sampler: Annotated[
        str, typer.Option(help="uniform, dns, ahns, mixgcf, multi-view, semantic or smoothed.")
    ] = "uniform",
    out: Annotated[Path | None, typer.Option(help="Run folder to make [runs/MODEL-SAMPLER-seedN].")] = None,
    negatives: Annotated[
        Path | None, typer.Option(help="For semantic a negatives folder, for smoothed a neighbours folder.")
    ] = None,
    trees: Annotated[
        Path | None, typer.Option(help="Trees folder, for multi-view, and for alpha_c and alpha_s of dns and ahns.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Simulated dataset: measure what is served against its truth.")
    ] = None,
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

    `hardneg train data/shop-split --sampler smoothed --negatives out/neighbours --set sampler.kind=dns --set alpha=0.4`
    """
    from hardneg import pipeline
    from hardneg.artifacts import manifest_of
    from hardneg.config import overrides, parse
    from hardneg.models import MODELS, ModelConfig
    from hardneg.negatives import SAMPLERS, SamplerConfig
    from hardneg.training import FitConfig

    use_threads(threads)
    require_device(device)
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "l2": l2, "seed": seed}
    config = pipeline.RunConfig(
        model=chosen(ModelConfig, model, MODELS, model_option or [], where="--model"),
        sampler=chosen(SamplerConfig, sampler, SAMPLERS, option or [], where="--sampler"),
        fit=parse(FitConfig, settings | overrides(fit_option or []), where="hardneg train"),
    )
    folder = out or Path("runs") / f"{model}-{sampler}-seed{config.fit.seed}"
    with bars(count=False) as bar:
        watch = bar.watch(config.fit.epochs)
        pipeline.train(split, folder, config, negatives=negatives, trees=trees, truth=truth, device=device, watch=watch)
    notes = manifest_of(folder, pipeline.RUN)["notes"]
    text = f"{folder}: kept epoch {notes['best epoch']} of {notes['epochs']} (by validation {config.fit.select})"
    missing = notes.get("pairs without a vector")
    if missing:
        text += f"; {missing / notes['pairs']:.1%} of the pairs served had no text vector and kept a uniform negative"
    emit({**notes, "out": str(folder)}, as_json=as_json, text=text)
