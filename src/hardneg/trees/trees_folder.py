"""The `trees` folder: `codes.parquet` with a row per item: item, item_id, structural, semantic.

A code is a text such as "0-3-1", null where the item has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.errors import DataError
from hardneg.stage import Draft
from hardneg.trees.codes import PathCodes
from hardneg.trees.item_trees import Trees

KIND = "trees"
TABLE = "codes.parquet"
STRUCTURAL, SEMANTIC = "structural", "semantic"
SCHEMA = {c.ITEM: pl.Int64, c.ITEM_ID: pl.String, STRUCTURAL: pl.String, SEMANTIC: pl.String}


def write_trees(draft: Draft, trees: Trees, item_ids: Sequence[str]) -> None:
    """Write codes.parquet, and note the shape of each tree."""
    shapes = {STRUCTURAL: describe_tree(trees.structural), SEMANTIC: describe_tree(trees.semantic)}
    draft.notes |= {"source": trees.source, "items": trees.structural.n_items, **shapes}
    pl.DataFrame(
        {
            c.ITEM: range(len(item_ids)),
            c.ITEM_ID: item_ids,
            STRUCTURAL: trees.structural.texts(),
            SEMANTIC: trees.semantic.texts(),
        },
        schema=SCHEMA,
    ).write_parquet(draft.folder / TABLE)


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
