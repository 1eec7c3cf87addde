"""Shares of grounding tables, by hand."""

from __future__ import annotations

import polars as pl
from diagnostics.grounding_comparison import compare_grounding

COLUMNS = ("row", "item_id", "flag", "used")


def grounding(*rows: tuple[int, str | None, str, bool]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def test_one_row_per_table() -> None:
    raw = grounding((0, "a", "", True), (1, "b", "already chosen", True), (2, "c", "", True), (4, None, "", True))
    grounded = grounding((0, "a", "suspect", True), (0, "b", "", True), (2, "c", "suspect", False))
    table = compare_grounding({"raw": raw, "grounded": grounded}, 5)
    assert table.rows() == [("raw", 4, 4, 3 / 4, 1 / 4, 0.0, 4 / 5), ("grounded", 3, 2, 1.0, 0.0, 1 / 2, 1 / 5)]


def test_without_a_used_text_there_are_no_shares() -> None:
    none = grounding((0, None, "out of catalogue", False))
    assert compare_grounding({"grounded": none}, 6).rows() == [("grounded", 1, 0, None, None, None, 0.0)]
