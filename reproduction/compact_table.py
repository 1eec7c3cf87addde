"""Print a table of a study as docs/results/tables/ shows it: selected rows, both masks side by side.

    python reproduction/compact_table.py studies/results/dtlns/toys-tables/toys-lightgcn --rows uniform DNS MixGCF "DTL-NS, all"

Given is the path of the table without its ending; NAME-released-mask.parquet has to stand beside NAME.parquet. Every row is shown
where none is named. Nothing is computed here: the numbers are the study's own, rounded.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.errors import ConfigError
from hardneg.report import tables
from hardneg.report.printers import p_text

METRICS = ("ndcg@20", "recall@20")


def bare(value: float) -> str:
    """A score without the nought before the point."""
    return f"{value:.4f}".removeprefix("0")


def p_value(p: float | None) -> str:
    """A p after Holm; a dash for a control, which has none."""
    return "–" if p is None else p_text(p).replace("0.", ".", 1).replace("1.000", "1")


def share(value: float) -> str:
    """A signed percentage."""
    return f"{100 * value:+.1f}"


def line(row: Mapping[str, Any], released: float, seeds: int) -> list[str]:
    """The cells of one row of `tables.comparison`."""
    spread = [f"{bare(row[metric])} ± {bare(row[f'{metric} sd'])}" for metric in METRICS]
    if row["relative"] is None:
        return [row["row"], str(seeds), *spread, "–", "–", "–", bare(released)]
    low, high = share(row["relative_low"]), share(row["relative_high"])
    relative, p = (row[tables.column(name, METRICS[1], METRICS)] for name in ("relative", "p_holm"))
    beside = f"{share(relative)} %" + ("" if p is None else f", {p_value(p)}")
    told = [f"{share(row['relative'])} % [{low}, {high}]", p_value(row["p_holm"]), beside]
    return [row["row"], str(seeds), *spread, *told, bare(released)]


def brief(frame: pl.DataFrame, masked: pl.DataFrame, rows: Sequence[str]) -> str:
    """The Markdown table. frame: by `tables.comparison`; masked: by `studies.released`. ConfigError for a row that is not
    there."""
    metric = METRICS[0]
    both = masked.filter(pl.col("metric") == metric)
    released = {row: (value, seeds) for row, value, seeds in both.select("row", "released_mask", "seeds").iter_rows()}
    known = {row["row"]: row for row in frame.iter_rows(named=True)}
    lacking = [row for row in rows if row not in known]
    if lacking:
        raise ConfigError(f"--rows: found {', '.join(lacking)}, expected some of {'; '.join(known)}")
    base = next(row for row, values in known.items() if values["relative"] is None)
    labels = [tables.metric_label(name) for name in METRICS]
    versus = [f"{labels[0]} vs {base} [95 %]", "p (Holm)", f"{labels[1]} vs {base}, p (Holm)"]
    headers = ["row", "seeds", *labels, *versus, f"{labels[0]} under the RELEASED MASK (not honest)"]
    return tables.markdown(headers, [line(known[row], *released[row]) for row in rows or known])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="OUT/tables/SPLIT-MODEL, without an ending.")
    parser.add_argument("--rows", nargs="+", default=[], help="Rows to show, in this order.")
    given = parser.parse_args()
    frame, masked = (
        pl.read_parquet(given.table.with_name(f"{given.table.name}{ending}"))
        for ending in (".parquet", "-released-mask.parquet")
    )
    print(brief(frame, masked, given.rows), end="")


if __name__ == "__main__":
    main()
