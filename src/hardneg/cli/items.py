"""Structures over the items of a split: `hardneg neighbours find` and `hardneg trees build`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from hardneg.cli.common import CpuOptions, DeviceOptions, ReadingOptions, add_command, new_group, run_stage
from hardneg.cli.options import (
    EncoderOption,
    OwnVectorsOption,
    Pairs,
    SeedOption,
    SplitArgument,
    pairs_option,
    parse_settings,
)
from hardneg.cli.output import render_table, show_progress, warn_if_empty

if TYPE_CHECKING:
    from hardneg.sampling.mined import NeighbourSource
    from hardneg.text import ItemVectors, TextEncoder

neighbours = new_group("Find neighbours of items, for semantic mixing.")
find = new_group("Find the k nearest neighbours of every item.")
trees = new_group("Build item trees (DTL-NS).")
neighbours.add_typer(find, name="find")


@dataclass(frozen=True, kw_only=True)
class NeighbourOptions(ReadingOptions):
    """Options of every source of similarity."""

    split: SplitArgument
    k: Annotated[int, Option("-k", min=1, max=10_000, help="Number of neighbours of an item.")] = 10
    out: Annotated[Path, Option(help="Neighbours folder to write.")] = Path("out/neighbours")

    def write(
        self,
        by: NeighbourSource,
        *,
        encoder: TextEncoder | ItemVectors | None = None,
        profiles: Path | None = None,
        seed: int = 0,
    ) -> None:
        """Find the neighbours and print their number."""
        from hardneg.pipeline import neighbours_stage

        with show_progress() as progress:
            stage = neighbours_stage(
                self.split, by, k=self.k, encoder=encoder, profiles_dir=profiles, seed=seed, progress=progress
            )
            notes = run_stage(stage, self.out)
        text = f"{self.k} neighbours of {notes['items']:,} items by {notes['source']}; "
        text += f"{notes['items without a neighbour']:,} items without one"
        warn_if_empty(notes)
        following = ("train", self.split, "--sampler", "semantic-mixing", "--negatives", self.out)
        self.emit_folder(self.out, notes, text, following)


@dataclass(frozen=True, kw_only=True)
class TextNeighbourOptions(NeighbourOptions, DeviceOptions):
    """Options of a source that encodes texts."""


@add_command(find, "text")
def text_neighbours_command(
    options: TextNeighbourOptions,
    encoder: EncoderOption = "minilm",
    profiles: Annotated[
        Path | None, Option(help="Profiles folder whose item profiles are encoded in place of the item texts.")
    ] = None,
    vectors: OwnVectorsOption = None,
) -> None:
    """Find neighbours by the cosine of encoded item texts, of item profiles, or of your own vectors.

    Examples:

    `hardneg neighbours find text data/shop-split -k 10 --out out/neighbours`

    `hardneg neighbours find text data/shop-split --profiles out/profiles --out out/profile-neighbours`

    `hardneg neighbours find text data/shop-split --vectors items.npy --out out/own-neighbours`
    """
    from hardneg.cli.llm_options import open_vector_source

    options.write("text", encoder=open_vector_source(vectors, encoder, options.device, profiles), profiles=profiles)


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


@add_command(trees, "build")
def build_trees_command(
    shared: CpuOptions,
    split: SplitArgument,
    run: Annotated[
        Path | None,
        Option(help="Run folder of a model trained on the split; the semantic tree clusters its item embeddings."),
    ] = None,
    vectors: Annotated[
        Path | None, Option(help="Instead of --run: vectors folder; the semantic tree clusters the encoded item texts.")
    ] = None,
    out: Annotated[Path, Option(help="Trees folder to write.")] = Path("out/trees"),
    settings: Annotated[
        Pairs,
        pairs_option("Setting of the trees: embedding_size, tree.children, tree.leaf_items, graph.most_edges, ..."),
    ] = None,
    seed: Annotated[int, Option(help="Random seed of eigenvectors and k-means.")] = 0,
) -> None:
    """Build two trees over the items: a structural one from co-occurrence, and a semantic one from vectors.

    Only train pairs are read. Give --run or --vectors.

    Example: `hardneg trees build data/shop-split --run runs/lightgcn --out out/trees`
    """
    from hardneg import pipeline
    from hardneg.trees import TreesConfig

    config: TreesConfig = parse_settings(TreesConfig, settings, seed=seed)
    with show_progress() as progress:
        stage = pipeline.trees_stage(split, config, run=run, vectors=vectors, progress=progress)
        notes = run_stage(stage, out)
    kinds = ("structural", "semantic")
    cells = [[what, *(f"{notes[kind][what]:,}" for kind in kinds)] for what in notes[kinds[0]]]
    following = ("train", split, "--sampler", "multi-view", "--trees", out)
    shared.emit_folder(out, notes, render_table(["", *kinds], cells), following)
