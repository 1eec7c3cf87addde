"""Path codes released by the authors of DTL-NS: one item per line, `23197: 0-0-1-3`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data.readers.integer_lines import read_lines
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.trees.codes import PathCodes

LEFT_OUT = "they were left out"


def read_released_codes(path: Path, n_items: int, *, item_offset: int = 0) -> tuple[PathCodes, RowReport]:
    """Read `.txt` or `.txt.gz`, lines in any order; items without a line have no code.

    n_items: of the catalogue, which may be more than the file has. item_offset: subtracted from item numbers, for files
    that number items after users (Sports 15138, Toys 15306). Malformed lines, lines of items outside 0..n_items - 1 and
    repeated items are left out and reported.
    """
    lines = read_lines(path).with_columns(pl.col("words").list.join(" ").alias("text"))
    form = lines["text"].str.extract_groups(r"^(\d{1,15}) ?: ?(\d{1,4}(?:-\d{1,4})*)$").struct.unnest()
    rows = lines.select("line", "text").hstack(form.rename({"1": "item", "2": "code"}))
    rows = rows.with_columns(pl.col("item").cast(pl.Int64) - item_offset)
    reasons = {
        "of another form than `item: 0-3-1`": pl.col("item").is_null(),
        f"of an item outside {item_offset}..{item_offset + n_items - 1}": ~pl.col("item").is_between(0, n_items - 1),
        "of an item that had a line already": ~pl.col("item").is_first_distinct(),
    }
    row_report: RowReport = ()
    for reason, bad in reasons.items():
        left_out = rows.filter(bad)
        if not left_out.is_empty():
            first = f"line {left_out['line'][0]}: {left_out['text'][0][:60]!r}"
            row_report += (RowIssue(path.name, reason, len(left_out), first, LEFT_OUT),)
            rows = rows.filter(~bad)
    if rows.is_empty():
        raise DataError(f"{path} has no usable path code; {row_report[0]}; check the file and the item offset")
    by_item = pl.DataFrame({"item": range(n_items)}, schema={"item": pl.Int64})
    by_item = by_item.join(rows, on="item", how="left", maintain_order="left")
    return PathCodes.of_texts(by_item["code"].to_list()), row_report
