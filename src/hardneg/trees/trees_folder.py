"""The two item trees of DTL-NS, and the `trees` folder.

`codes.parquet` has a row per item: item, item_id, structural, semantic; a code such as "0-3-1", null without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.random import Generator

from hardneg import artifacts
from hardneg.config import Config, Seed, VectorSize
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.readers.integer_lines import read_words
from hardneg.data.row_report import RowCounter, RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.stage import Draft
from hardneg.trees.clustering import TreeConfig, build_tree
from hardneg.trees.codes import PathCodes
from hardneg.trees.item_graph import GraphConfig, jaccard_graph, spectral_embedding
from hardneg.types import Floats, Progress

KIND = "trees"
TABLE = "codes.parquet"
STRUCTURAL, SEMANTIC = "structural", "semantic"
SCHEMA = {c.ITEM: pl.Int64, c.ITEM_ID: pl.String, STRUCTURAL: pl.String, SEMANTIC: pl.String}


class TreesConfig(Config):
    """Settings of both trees; the defaults are those of the release, except the seed."""

    graph: GraphConfig = GraphConfig()
    embedding_size: VectorSize = 32
    """Number of eigenvectors of the item graph."""
    tree: TreeConfig = TreeConfig()
    seed: Seed = 0


@dataclass(frozen=True)
class Trees:
    """Path codes of one catalogue in both trees. source: origin of the semantic tree's vectors."""

    structural: PathCodes
    semantic: PathCodes
    source: str

    def __post_init__(self) -> None:
        if self.structural.n_items != self.semantic.n_items:
            raise DataError(
                f"found {self.structural.n_items:,} structural and {self.semantic.n_items:,} semantic codes, expected "
                "equal numbers; give trees of one catalogue"
            )

    def shuffled(self, rng: Generator) -> Trees:
        """Return a control: each tree with its codes permuted among items."""
        return Trees(self.structural.shuffled(rng), self.semantic.shuffled(rng), f"shuffled {self.source}")

    def random_like(self, rng: Generator) -> Trees:
        """Return a control: random codes of equal shape in place of each tree."""
        structural, semantic = self.structural.random_like(rng), self.semantic.random_like(rng)
        return Trees(structural, semantic, f"random, shaped like {self.source}")


def structural_codes(
    train: Interactions, config: TreesConfig, progress: Progress | None = None
) -> tuple[PathCodes, dict[str, Any]]:
    """Build the structural tree from train pairs; items that share no user with another item get no code.

    Returns the codes, and notes on the graph and its spectrum for a manifest.
    """
    graph = jaccard_graph(train, config.graph, generator(config.seed, "histories of the item graph"), progress)
    spectrum = spectral_embedding(graph.weights, config.embedding_size, seed=config.seed)
    codes = build_tree(spectrum.points, config.tree, seed=config.seed, progress=progress, label="structural tree")
    return codes, {
        **graph.notes(),
        "null vectors dropped": spectrum.components,
        "eigenvectors": len(spectrum.values),
        "largest eigenvalue kept": float(spectrum.values[0]) if len(spectrum.values) else None,
    }


def semantic_codes(vectors: Floats, config: TreesConfig, progress: Progress | None = None) -> PathCodes:
    """Build the semantic tree from item vectors (n_items, size); items with NaN get no code."""
    return build_tree(vectors, config.tree, seed=config.seed, progress=progress, label="semantic tree")


def mask_untrained(vectors: Floats, train: Interactions) -> Floats:
    """Return a model's item vectors with NaN for items without train pairs, whose vectors are still random."""
    if len(vectors) != train.n_items:
        raise DataError(
            f"found vectors of {len(vectors):,} items, the split has {train.n_items:,}; give a run of this split"
        )
    return np.asarray(np.where(train.item_counts[:, None] > 0, vectors, np.nan))


def write_trees(draft: Draft, trees: Trees, item_ids: Sequence[str]) -> None:
    """Write codes.parquet, and note the shape of each tree."""
    shapes = {STRUCTURAL: describe_tree(trees.structural), SEMANTIC: describe_tree(trees.semantic)}
    draft.notes |= {"source": trees.source, "items": trees.structural.n_items, **shapes}
    columns = range(len(item_ids)), item_ids, trees.structural.texts(), trees.semantic.texts()
    table = pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)
    table.write_parquet(draft.folder / TABLE)


def read_trees(folder: Path, n_items: int) -> Trees:
    """Read the trees of a catalogue. Raises DataError where the table does not have one row per item, in order."""
    source = artifacts.read_manifest(folder, KIND)["notes"]["source"]
    path = folder / TABLE
    table = read_parquet(path)
    if missing := [name for name in (c.ITEM, STRUCTURAL, SEMANTIC) if name not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]}, expected {', '.join(SCHEMA)}; build the trees again")
    if len(table) != n_items:
        raise DataError(
            f"{folder} has codes of {len(table):,} items, the split has {n_items:,}; build the trees from this split"
        )
    if table[c.ITEM].to_list() != list(range(n_items)):
        raise DataError(
            f"{path} is not in the order of its items, expected item 0 to {n_items - 1}; build the trees again"
        )
    if wrong := [name for name in (STRUCTURAL, SEMANTIC) if table[name].dtype not in (pl.String, pl.Null)]:
        raise DataError(
            f'{path} has no text in column {wrong[0]}, expected codes such as "0-3-1"; build the trees again'
        )
    structural, semantic = (PathCodes.of_texts(table[name].to_list()) for name in (STRUCTURAL, SEMANTIC))
    return Trees(structural, semantic, source)


def describe_tree(codes: PathCodes) -> dict[str, Any]:
    """Return counts that describe a tree, for manifests."""
    sizes, lengths = codes.leaf_sizes, codes.lengths[codes.coded]
    return {
        "leaves": len(sizes),
        "shortest code": int(lengths.min()) if len(lengths) else 0,
        "longest code": int(lengths.max(initial=0)),
        "items in the fullest leaf": int(sizes.max(initial=0)),
        "items without a code": int((~codes.coded).sum()),
    }


def read_released_codes(path: Path, n_items: int, *, item_offset: int = 0) -> tuple[PathCodes, RowReport]:
    """Read the authors' `.txt` or `.txt.gz`, lines `23197: 0-0-1-3` in any order; other items have no code.

    n_items: of the catalogue, which may be more than the file has. item_offset: subtracted from item numbers, for files
    that number items after users (Sports 15138, Toys 15306). Malformed lines, lines of items outside 0..n_items - 1 and
    repeated items are left out and reported.
    """
    counter = RowCounter()
    lines = read_words(path, counter).with_columns(pl.col("words").list.join(" ").alias("text"))
    form = lines["text"].str.extract_groups(r"^(\d{1,15}) ?: ?(\d{1,4}(?:-\d{1,4})*)$").struct.unnest()
    rows = lines.select("line", "text").hstack(form.rename({"1": "item", "2": "code"}))
    rows = rows.with_columns(pl.col("item").cast(pl.Int64) - item_offset)
    reasons = {
        "of another form than `item: 0-3-1`": pl.col("item").is_null(),
        f"of an item outside {item_offset}..{item_offset + n_items - 1}": ~pl.col("item").is_between(0, n_items - 1),
        "of an item that had a line already": ~pl.col("item").is_first_distinct(),
    }
    row_report = counter.row_report
    for reason, bad in reasons.items():
        left_out = rows.filter(bad)
        if not left_out.is_empty():
            first = f"line {left_out['line'][0]}: {left_out['text'][0][:60]!r}"
            row_report += (RowIssue(path.name, reason, len(left_out), first, "they were left out"),)
            rows = rows.filter(~bad)
    if rows.is_empty():
        raise DataError(f"{path} has no usable path code; {row_report[0]}; check the file and the item offset")
    by_item = pl.DataFrame({"item": range(n_items)}, schema={"item": pl.Int64})
    by_item = by_item.join(rows, on="item", how="left", maintain_order="left")
    return PathCodes.of_texts(by_item["code"].to_list()), row_report
