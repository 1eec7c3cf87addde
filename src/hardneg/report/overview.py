"""Several tables seen at once: means side by side, and what pairs of rows did over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from hardneg.report.printers import NO_VALUE
from hardneg.report.tables import BETTER, WORSE, verdict_counts

SIGNS = {BETTER: " ▲", WORSE: " ▼"}
"""Verdict -> what follows a mean; nothing where rows are not distinguishable, and after controls."""


def side_by_side(groups: Mapping[str, pl.DataFrame], metric: str) -> tuple[list[str], list[list[str]]]:
    """Headers and cells: a line a row, a column a group, the mean of the metric with a sign for its verdict.

    groups: name of a dataset and backbone -> its `tables.comparison`, whose first metric this is. Rows in order of first
    appearance; a dash where a group lacks one.
    """
    found = {
        name: {row["row"]: f"{row[metric]:.4f}{SIGNS.get(row['verdict'], '')}" for row in frame.iter_rows(named=True)}
        for name, frame in groups.items()
    }
    names = dict.fromkeys(name for cells in found.values() for name in cells)
    return ["sampler", *groups], [[name, *(cells.get(name, NO_VALUE) for cells in found.values())] for name in names]


def pairs_summary(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """In how many tables is a row better or worse than another one that it is held against?

    frames: `tables.paired`, one a group; a pair that stands in one of them twice counts as it stands first. One line a pair,
    in order of first appearance: pair ("row against other"), groups (in which both stand), better, not_distinguishable, worse (verdicts at 5 % after Holm within its family), relative (mean
    over groups of the relative difference). The counts are no test of their own.
    """
    pair = pl.concat_str("row", "against", separator=" against ").alias("pair")
    lines = pl.concat(
        [frame.select(pair, "verdict", "relative").unique("pair", maintain_order=True) for frame in frames]
    )
    return lines.group_by("pair", maintain_order=True).agg(*verdict_counts())
