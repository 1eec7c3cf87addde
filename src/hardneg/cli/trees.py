"""`hardneg trees`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hardneg.cli.common import JsonOption, ThreadsOption, bars, emit, table, use_threads


def trees(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    run: Annotated[
        Path | None, typer.Option(help="Run folder of a model trained on it; the semantic tree is over its items.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Instead of --run: a folder of encoded texts, as `hardneg fuse` keeps it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Trees folder to make.")] = Path("out/trees"),
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, as embedding_size=32, tree.children=4 or graph.most_edges=1e7."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of eigenvectors and k-means.")] = 0,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Grow two trees over the items, from train alone: by who chose them together, and by a trained model (DTL-NS).

    Example: `hardneg trees data/shop-split --run runs/lightgcn --out out/trees`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.config import overrides, parse_config
    from hardneg.trees import TreesConfig, trees_folder

    use_threads(threads)
    config: TreesConfig = parse_config(TreesConfig, {"seed": seed} | overrides(options or []), where="hardneg trees")
    with bars() as bar:
        pipeline.trees_stage(split, config, run=run, vectors=vectors, progress=bar).run(out)
    notes = read_manifest(out, trees_folder.KIND)["notes"]
    emit({**notes, "out": str(out)}, as_json=as_json, text=_shapes(notes))


def _shapes(notes: dict[str, Any]) -> Any:
    kinds = ("structural", "semantic")
    return table(["", *kinds], [[what, *(f"{notes[kind][what]:,}" for kind in kinds)] for what in notes[kinds[0]]])
