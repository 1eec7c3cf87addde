"""Print a table of a study as docs/results/tables/ shows it: selected rows, both masks side by side.

    python reproduction/compact_table.py studies/results/dtlns/toys-tables/toys-lightgcn --rows uniform DNS MixGCF "DTL-NS, all"

The argument is the path of the table without its extension; NAME-released-mask.parquet must be beside NAME.parquet. All rows
are printed by default. Nothing is computed here: the numbers are those of the study, rounded.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.errors import ConfigError
from hardneg.report import printers, tables
from hardneg.report.printers import p_text

METRICS = ("ndcg@20", "recall@20")


def score_text(value: float) -> str:
    """Return a score without the zero before the point."""
    return f"{value:.4f}".removeprefix("0")


def p_value_text(p: float | None) -> str:
    """Return a p-value after Holm; a dash for a control, which has none."""
    return "–" if p is None else p_text(p).replace("0.", ".", 1).replace("1.000", "1")


def percent_text(value: float) -> str:
    """Return a signed percentage."""
    return f"{100 * value:+.1f}"


def table_line(row: Mapping[str, Any], released: float, seeds: int) -> list[str]:
    """Return the cells of one row of `tables.comparison_table`."""
    spread = [f"{score_text(row[metric])} ± {score_text(row[f'{metric} sd'])}" for metric in METRICS]
    if row["relative"] is None:
        return [row["row"], str(seeds), *spread, "–", "–", "–", score_text(released)]
    low, high = percent_text(row["relative_low"]), percent_text(row["relative_high"])
    relative, p = (row[tables.column(name, METRICS[1], METRICS)] for name in ("relative", "p_holm"))
    second = f"{percent_text(relative)} %" + ("" if p is None else f", {p_value_text(p)}")
    first = [f"{percent_text(row['relative'])} % [{low}, {high}]", p_value_text(row["p_holm"]), second]
    return [row["row"], str(seeds), *spread, *first, score_text(released)]


def compact_table(frame: pl.DataFrame, masked: pl.DataFrame, rows: Sequence[str]) -> str:
    """Return the Markdown table.

    frame: by `tables.comparison_table`. masked: by `comparisons.released_table`. Raises ConfigError for a row that is not there.
    """
    metric = METRICS[0]
    both = masked.filter(pl.col("metric") == metric)
    released = {row: (value, seeds) for row, value, seeds in both.select("row", "released_mask", "seeds").iter_rows()}
    known = {row["row"]: row for row in frame.iter_rows(named=True)}
    missing = [row for row in rows if row not in known]
    if missing:
        raise ConfigError(f"--rows: found {', '.join(missing)}, expected some of {'; '.join(known)}")
    base = next(row for row, values in known.items() if values["relative"] is None)
    labels = [printers.metric_label(name) for name in METRICS]
    versus = [f"{labels[0]} vs {base} [95 %]", "p (Holm)", f"{labels[1]} vs {base}, p (Holm)"]
    headers = ["row", "seeds", *labels, *versus, f"{labels[0]} under the RELEASED MASK (not valid)"]
    return printers.markdown(headers, [table_line(known[row], *released[row]) for row in rows or known])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="OUT/tables/SPLIT-MODEL, without an extension.")
    parser.add_argument("--rows", nargs="+", default=[], help="Rows to print, in this order; all by default.")
    arguments = parser.parse_args()
    frame, masked = (
        pl.read_parquet(arguments.table.with_name(f"{arguments.table.name}{suffix}"))
        for suffix in (".parquet", "-released-mask.parquet")
    )
    print(compact_table(frame, masked, arguments.rows), end="")


if __name__ == "__main__":
    main()
