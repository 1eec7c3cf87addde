"""On disk: a `trees/` folder with `codes.parquet`, a row an item: item, item_id, structural, semantic.

A code is text such as "0-3-1", null where the item has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.errors import DataError
from hardneg.trees.codes import PathCodes
from hardneg.trees.dual import Trees

KIND = "trees"
TABLE = "codes.parquet"
STRUCTURAL, SEMANTIC = "structural", "semantic"


def write(
    folder: Path,
    trees: Trees,
    item_ids: Sequence[str],
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any],
) -> None:
    """Write codes.parquet; the manifest's notes also say how each tree looks."""
    shapes = {STRUCTURAL: shape(trees.structural), SEMANTIC: shape(trees.semantic)}
    described = {"source": trees.source, "items": trees.structural.n_items, **shapes, **notes}
    with artifacts.writing(folder, KIND, config, inputs, described) as out:
        pl.DataFrame(
            {
                c.ITEM: range(len(item_ids)),
                c.ITEM_ID: item_ids,
                STRUCTURAL: trees.structural.texts(),
                SEMANTIC: trees.semantic.texts(),
            },
            schema={c.ITEM: pl.Int64, c.ITEM_ID: pl.String, STRUCTURAL: pl.String, SEMANTIC: pl.String},
        ).write_parquet(out / TABLE)


def read(folder: Path, n_items: int) -> Trees:
    """Read the trees of a catalogue of so many items."""
    source = artifacts.manifest_of(folder, KIND)["notes"]["source"]
    table = read_parquet(folder / TABLE)
    if len(table) != n_items:
        raise DataError(
            f"{folder} has codes of {len(table):,} items, the split has {n_items:,}; grow the trees from this split"
        )
    structural, semantic = (PathCodes.of_texts(table[name].to_list()) for name in (STRUCTURAL, SEMANTIC))
    return Trees(structural, semantic, source)


def shape(codes: PathCodes) -> dict[str, Any]:
    """Leaves, the shortest and the longest code, the fullest leaf, and items without a code."""
    sizes, lengths = codes.leaf_sizes, codes.lengths[codes.coded]
    return {
        "leaves": len(sizes),
        "shortest code": int(lengths.min()) if len(lengths) else 0,
        "longest code": int(lengths.max(initial=0)),
        "items in the fullest leaf": int(sizes.max(initial=0)),
        "items without a code": int((~codes.coded).sum()),
    }
