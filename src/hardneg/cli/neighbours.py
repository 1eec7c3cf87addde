"""`hardneg neighbours find`: a few neighbours of every item, one command for each source of similarity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.common import DeviceOptions, OutputOptions, add_command, new_group, read_notes
from hardneg.cli.options import EncoderOption, SeedOption, SplitArgument
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from hardneg.sampling.item_neighbours import NeighbourSource
    from hardneg.text import TextEncoder

app = new_group("Find neighbours of items, for semantic mixing.")
find = new_group("Find the k nearest neighbours of every item.")
app.add_typer(find, name="find")

OutOption = Annotated[Path, typer.Option(help="Neighbours folder to write.")]
OUT = Path("out/neighbours")
KOption = Annotated[int, typer.Option("-k", min=1, help="Number of neighbours of an item.")]


@add_command(find, "text")
def text_neighbours_command(
    shared: DeviceOptions,
    split: SplitArgument,
    k: KOption = 10,
    out: OutOption = OUT,
    encoder: EncoderOption = "minilm",
) -> None:
    """Find neighbours by the cosine of encoded item texts.

    Example: `hardneg neighbours find text data/shop-split -k 10 --out out/neighbours`
    """
    from hardneg.cli.llm_options import open_text_encoder

    _find(shared, split, out, "text", k, encoder=open_text_encoder(encoder, shared.device))


@add_command(find, "co-occurrence")
def co_occurrence_neighbours_command(
    shared: OutputOptions, split: SplitArgument, k: KOption = 10, out: OutOption = OUT
) -> None:
    """Find neighbours by common users in the train pairs.

    Example: `hardneg neighbours find co-occurrence data/shop-split -k 10 --out out/neighbours`
    """
    _find(shared, split, out, "co-occurrence", k)


@add_command(find, "random")
def random_neighbours_command(
    shared: OutputOptions, split: SplitArgument, k: KOption = 10, out: OutOption = OUT, seed: SeedOption = 0
) -> None:
    """Draw random neighbours, as a control.

    Example: `hardneg neighbours find random data/shop-split -k 10 --out out/random-neighbours`
    """
    _find(shared, split, out, "random", k, seed=seed)


def _find(
    shared: OutputOptions,
    split: Path,
    out: Path,
    by: NeighbourSource,
    k: int,
    *,
    encoder: TextEncoder | None = None,
    seed: int = 0,
) -> None:
    from hardneg import pipeline
    from hardneg.sampling.item_neighbours import KIND

    with show_progress() as progress:
        pipeline.neighbours_stage(split, by, k=k, encoder=encoder, seed=seed, progress=progress).run(out)
    notes = read_notes(out, KIND)
    text = f"{out}: {k} neighbours of {notes['items']:,} items by {notes['source']}; "
    text += f"{notes['items without a neighbour']:,} items without one"
    following = ("train", split, "--sampler", "semantic-mixing", "--negatives", out)
    shared.emit({**notes, "out": str(out)}, text, following)
