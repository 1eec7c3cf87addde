"""Reports of rows that are left out."""

from __future__ import annotations

import polars as pl

from hardneg.data.row_report import RowCounter, RowIssue, drop_rows, report_notes

ENTRY = RowIssue("a.csv", "without an id", 1200, "row 3", "they were left out")


def test_an_issue_prints_as_one_line() -> None:
    assert str(ENTRY) == "a.csv: 1,200 rows without an id (first: row 3); they were left out"
    assert ": 1 row " in str(RowIssue("a.csv", "x", 1, "row 3", "y"))
    assert RowIssue(**report_notes((ENTRY,))[0]) == ENTRY  # type: ignore[arg-type]


def test_a_counter_merges_issues_and_keeps_the_first_row() -> None:
    counter = RowCounter()
    assert counter.row_report == ()
    other = RowIssue("b.csv", "without an id", 1, "row 9", "they were left out")
    counter.add(ENTRY, other)
    counter.add(RowIssue("a.csv", "without an id", 5, "row 4", "they were left out"))
    assert counter.row_report == (RowIssue("a.csv", "without an id", 1205, "row 3", "they were left out"), other)


def test_dropped_rows_are_reported_with_the_first() -> None:
    frame = pl.DataFrame({"line": [1, 2, 3, 4], "text": ["a", "{b}", "c", None]})
    condition = pl.col("text").str.contains("b|c").fill_null(value=False)
    kept, (issue,) = drop_rows(frame, condition, "a.csv", "with b or c", "line {line}: {text!r}")
    assert kept["line"].to_list() == [1, 4]
    assert (issue.where, issue.count, issue.first) == ("a.csv", 2, "line 2: '{b}'")
    assert drop_rows(kept, condition, "a.csv", "with b or c", "line {line}") == (kept, ())
