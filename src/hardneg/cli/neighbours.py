"""`hardneg neighbours`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads


def neighbours(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    by: Annotated[
        Literal["text", "co-occurrence", "random"],
        typer.Option(help="text: nearest item texts. co-occurrence: chosen by the same users. random: the control."),
    ] = "text",
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours an item.")] = 10,
    out: Annotated[Path, typer.Option(help="Neighbours folder to make.")] = Path("out/neighbours"),
    encoder: Annotated[str, typer.Option(help="text: minilm, a sentence-transformers folder or name.")] = "minilm",
    seed: Annotated[int, typer.Option(help="random: of the draw.")] = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Find a few neighbours of every item, for the sampler `semantic-mixing`.

    Example: `hardneg neighbours data/shop-split --by text --out out/neighbours`, and then
    `hardneg train data/shop-split --sampler semantic-mixing --negatives out/neighbours --set alpha=0.4`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.cli.llm_options import encoder_of
    from hardneg.sampling.item_neighbours import KIND

    use_threads(threads)
    require_device(device)
    with bars() as bar:
        opened = encoder_of(encoder, device, None) if by == "text" else None
        pipeline.neighbours_stage(split, by, k=k, encoder=opened, seed=seed, progress=bar).run(out)
    notes = read_manifest(out, KIND)["notes"]
    text = f"{out}: {k} neighbours of {notes['items']:,} items by {notes['source']}; "
    text += f"{notes['items without a neighbour']:,} items without one"
    emit({**notes, "out": str(out)}, as_json=as_json, text=text)
