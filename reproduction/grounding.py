"""Compare raw, grounded and constrained negatives: shares in the catalogue, of suspects, and of false negatives.

    python reproduction/grounding.py data/store-split out/written/store --truth data/store

FOLDER has the negatives folders raw, grounded, constrained (any of them), made by `hardneg negatives generate`. With --truth (the simulated dataset) the table also has the share of named items that are false negatives, and that of
uniform items.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from diagnostics.grounding_comparison import compare_grounding
from diagnostics.named_negatives import false_negatives_by_way, named_false_negatives

from hardneg.data import split as splits
from hardneg.data import truth as truths
from hardneg.mining.generated import GROUNDING
from hardneg.random import generator

GROUNDINGS = ("raw", "grounded", "constrained")
SHARES = ("in_catalogue", "already_chosen", "suspect", "coverage", "false_negatives")


def make_table(split_dir: Path, folder: Path, truth_dir: Path | None) -> pl.DataFrame:
    """Return a row for each grounding."""
    split = splits.read_split(split_dir)
    groundings = {way: pl.read_parquet(folder / way / GROUNDING) for way in GROUNDINGS if (folder / way).is_dir()}
    comparison = compare_grounding(groundings, len(split.train))
    if truth_dir is None:
        return comparison
    truth = truths.read_truth(truth_dir).reindex(split.vocabulary)
    false_negatives = false_negatives_by_way(groundings, split, truth)
    items = generator(0, "uniform items beside named ones").integers(split.train.n_items, size=len(split.train))
    unobserved = ~split.train.contains(split.train.users, items)
    chance = named_false_negatives(split.train.users, np.where(unobserved, items, -1), split, truth)
    uniform = pl.DataFrame({"way": ["uniform items"], "false_negatives": [chance.share], "measured": [chance.count]})
    return pl.concat(
        [comparison.join(false_negatives, on="way", how="left", maintain_order="left"), uniform], how="diagonal_relaxed"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--truth", type=Path)
    arguments = parser.parse_args()
    rows = make_table(arguments.split, arguments.folder, arguments.truth)
    print("| " + " | ".join(name.replace("_", " ") for name in rows.columns) + " |")
    print("|" + " --- |" * len(rows.columns))
    for row in rows.to_dicts():
        cells = ["–" if v is None else f"{v:.1%}" if name in SHARES else str(v) for name, v in row.items()]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
