"""`hardneg neighbours find`: a few neighbours of every item, one command for each source of similarity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.common import DeviceOptions, OutputOptions, add_command, new_group, read_notes
from hardneg.cli.options import EncoderOption, SeedOption, SplitArgument
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from hardneg.sampling.mined import NeighbourSource
    from hardneg.text import TextEncoder

app = new_group("Find neighbours of items, for semantic mixing.")
find = new_group("Find the k nearest neighbours of every item.")
app.add_typer(find, name="find")


@dataclass(frozen=True, kw_only=True)
class NeighbourOptions(OutputOptions):
    """Options of every source of similarity."""

    split: SplitArgument
    k: Annotated[int, typer.Option("-k", min=1, help="Number of neighbours of an item.")] = 10
    out: Annotated[Path, typer.Option(help="Neighbours folder to write.")] = Path("out/neighbours")

    def write(self, by: NeighbourSource, *, encoder: TextEncoder | None = None, seed: int = 0) -> None:
        """Find the neighbours and print their number."""
        from hardneg.pipeline import neighbours_stage
        from hardneg.sampling.mined import NEIGHBOURS

        with show_progress() as progress:
            neighbours_stage(self.split, by, k=self.k, encoder=encoder, seed=seed, progress=progress).run(self.out)
        notes = read_notes(self.out, NEIGHBOURS)
        text = f"{self.out}: {self.k} neighbours of {notes['items']:,} items by {notes['source']}; "
        text += f"{notes['items without a neighbour']:,} items without one"
        following = ("train", self.split, "--sampler", "semantic-mixing", "--negatives", self.out)
        self.emit({**notes, "out": str(self.out)}, text, following)


@dataclass(frozen=True, kw_only=True)
class TextNeighbourOptions(NeighbourOptions, DeviceOptions):
    """Options of a source that encodes texts."""


@add_command(find, "text")
def text_neighbours_command(options: TextNeighbourOptions, encoder: EncoderOption = "minilm") -> None:
    """Find neighbours by the cosine of encoded item texts.

    Example: `hardneg neighbours find text data/shop-split -k 10 --out out/neighbours`
    """
    from hardneg.cli.llm_options import open_text_encoder

    options.write("text", encoder=open_text_encoder(encoder, options.device))


@add_command(find, "co-occurrence")
def co_occurrence_neighbours_command(options: NeighbourOptions) -> None:
    """Find neighbours by common users in the train pairs.

    Example: `hardneg neighbours find co-occurrence data/shop-split -k 10 --out out/neighbours`
    """
    options.write("co-occurrence")


@add_command(find, "random")
def random_neighbours_command(options: NeighbourOptions, seed: SeedOption = 0) -> None:
    """Draw random neighbours, as a control.

    Example: `hardneg neighbours find random data/shop-split -k 10 --out out/random-neighbours`
    """
    options.write("random", seed=seed)
