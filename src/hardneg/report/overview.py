"""Overviews of several tables: means side by side, and counts of significant differences between pairs of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from hardneg.report.printers import NO_VALUE
from hardneg.report.tables import BETTER, WORSE, verdict_counts

SIGNS = {BETTER: " ▲", WORSE: " ▼"}
"""Verdict -> suffix of a mean; there is none for a difference that is not significant, nor for controls."""


def side_by_side(groups: Mapping[str, pl.DataFrame], metric: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells with a line per method and a column per table: the mean and a sign for its verdict.

    groups: name of a dataset and backbone -> its `tables.comparison_table`, whose first metric is `metric`. Methods are
    in order of first appearance, with a dash where a table lacks one.
    """
    columns = {
        name: {row["row"]: f"{row[metric]:.4f}{SIGNS.get(row['verdict'], '')}" for row in frame.iter_rows(named=True)}
        for name, frame in groups.items()
    }
    methods = dict.fromkeys(method for cells in columns.values() for method in cells)
    lines = [[method, *(cells.get(method, NO_VALUE) for cells in columns.values())] for method in methods]
    return ["sampler", *groups], lines


def pairs_summary(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Count over several tables how often each pair of methods differs significantly.

    frames: `tables.pairwise_table` of each group; of a pair repeated in one frame the first counts. There is one line
    per pair in order of first appearance. Columns: pair ("row against other"), groups (tables with the pair), better,
    not_distinguishable, worse (numbers of tables), and relative (mean over tables). The counts are no test.
    """
    pair = pl.concat_str("row", "against", separator=" against ").alias("pair")
    lines = pl.concat(
        [frame.select(pair, "verdict", "relative").unique("pair", maintain_order=True) for frame in frames]
    )
    return lines.group_by("pair", maintain_order=True).agg(*verdict_counts())
