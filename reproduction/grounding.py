"""Raw, grounded and constrained negatives side by side: how many are in the catalogue, suspect, and truly liked.

    python reproduction/grounding.py data/store-split out/written/store --truth data/store

FOLDER holds the negatives folders raw, grounded, constrained (those that are there), by `hardneg negatives generate --naming NAMING`.
With --truth (the simulated dataset) also the share of named items that their user would like; uniform items beside them.
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

WAYS = ("raw", "grounded", "constrained")
SHARES = ("in_catalogue", "already_chosen", "suspect", "coverage", "false_negatives")


def table(split_folder: Path, folder: Path, truth_folder: Path | None) -> pl.DataFrame:
    split = splits.read_split(split_folder)
    groundings = {way: pl.read_parquet(folder / way / GROUNDING) for way in WAYS if (folder / way).is_dir()}
    found = compare_grounding(groundings, len(split.train))
    if truth_folder is None:
        return found
    truth = truths.read_truth(truth_folder).reindex(split.vocabulary)
    liked = false_negatives_by_way(groundings, split, truth)
    items = generator(0, "uniform items beside named ones").integers(split.train.n_items, size=len(split.train))
    fresh = ~split.train.contains(split.train.users, items)
    chance = named_false_negatives(split.train.users, np.where(fresh, items, -1), split, truth)
    uniform = pl.DataFrame({"way": ["uniform items"], "false_negatives": [chance.share], "measured": [chance.count]})
    return pl.concat([found.join(liked, on="way", how="left", maintain_order="left"), uniform], how="diagonal_relaxed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--truth", type=Path)
    arguments = parser.parse_args()
    rows = table(arguments.split, arguments.folder, arguments.truth)
    print("| " + " | ".join(name.replace("_", " ") for name in rows.columns) + " |")
    print("|" + " --- |" * len(rows.columns))
    for row in rows.to_dicts():
        cells = ["–" if v is None else f"{v:.1%}" if name in SHARES else str(v) for name, v in row.items()]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
