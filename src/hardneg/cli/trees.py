"""`hardneg trees build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardneg.cli.common import CpuOptions, add_command, new_group, read_notes, render_table
from hardneg.cli.options import Pairs, SplitArgument, pairs_option, parse_settings
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from rich.table import Table

app = new_group("Build item trees (DTL-NS).")


@add_command(app, "build")
def build_trees_command(
    shared: CpuOptions,
    split: SplitArgument,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder of a model trained on the split; the semantic tree clusters its item embeddings."
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="Instead of --run: vectors folder; the semantic tree clusters the encoded item texts."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Trees folder to write.")] = Path("out/trees"),
    settings: Annotated[
        Pairs,
        pairs_option("Setting of the trees: embedding_size, tree.children, tree.leaf_items, graph.most_edges, ..."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of eigenvectors and k-means.")] = 0,
) -> None:
    """Build two trees over the items: a structural one from co-occurrence, and a semantic one from vectors.

    Only train pairs are read. Give --run or --vectors.

    Example: `hardneg trees build data/shop-split --run runs/lightgcn --out out/trees`
    """
    from hardneg import pipeline
    from hardneg.trees import TreesConfig, trees_folder

    config: TreesConfig = parse_settings(TreesConfig, settings, seed=seed)
    with show_progress() as progress:
        pipeline.trees_stage(split, config, run=run, vectors=vectors, progress=progress).run(out)
    notes = read_notes(out, trees_folder.KIND)
    following = ("train", split, "--sampler", "multi-view", "--trees", out)
    shared.emit({**notes, "out": str(out)}, _shape_table(notes), following, written=out)


def _shape_table(notes: dict[str, Any]) -> Table:
    kinds = ("structural", "semantic")
    return render_table(
        ["", *kinds], [[what, *(f"{notes[kind][what]:,}" for kind in kinds)] for what in notes[kinds[0]]]
    )
