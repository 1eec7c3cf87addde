"""`hardneg label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import JsonOption, ThreadsOption, bars, emit, use_threads


def label(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    run: Annotated[Path, typer.Argument(help="Run folder of a model trained on it with --sampler mixgcf.")],
    out: Annotated[Path, typer.Option(help="Labels folder to make.")] = Path("out/labels"),
    draws: Annotated[int, typer.Option(min=1, help="Draws to average; 1 as in the paper.")] = 1,
    seed: Annotated[int, typer.Option(help="Of candidates and mixing weights.")] = 0,
    onto: Annotated[
        Path | None, typer.Option(help="Vectors folder of the split: turn all towards the item texts (Procrustes).")
    ] = None,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Make labels for `hardneg finetune`: the hard negative that a trained MixGCF mixes for every train pair.

    Embeddings of models trained apart have no common space. With --onto, labels of several sets of data lie in that of
    their item texts.

    Example: `hardneg label data/shop-split runs/mixgcf --out out/labels`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.config import parse_config
    from hardneg.mining import LabelOptions, labels

    use_threads(threads)
    options: LabelOptions = parse_config(LabelOptions, {"draws": draws, "seed": seed}, where="hardneg label")
    with bars() as bar:
        pipeline.labels_stage(split, run, options, bar, onto=onto).run(out)
    notes = read_manifest(out, labels.KIND)["notes"]
    emit({**notes, "out": str(out)}, as_json=as_json, text=f"{out}: labels of {notes['pairs']:,} train pairs")
