"""Presets: their filters, and notes on the published counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import polars as pl
import pytest

from hardneg.cli.data_import import PresetName as CommandLineName
from hardneg.data import filters
from hardneg.data.presets import PRESETS, DatasetCounts, DatasetPresetName


def seconds(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())


def test_the_command_line_knows_every_preset() -> None:
    assert get_args(CommandLineName) == get_args(DatasetPresetName) == tuple(PRESETS)


@pytest.mark.parametrize(
    ("name", "lowest", "first", "last"),
    [
        ("hnlmrec-toys", 4, 2015, 2017),
        ("hnlmrec-cds", 4, 2014, 2015),
        ("hnlmrec-yelp", 4, 2015, 2017),
        ("hnlmrec-electronics", 3, 2010, 2017),
    ],
)
def test_presets_keep_ratings_and_years_by_row(name: DatasetPresetName, lowest: int, first: int, last: int) -> None:
    inside, before, after = seconds(last, 12, 31, 23), seconds(first - 1, 12, 31, 23), seconds(last + 1, 1, 1)
    rows = [
        (lowest, seconds(first, 1, 1)),
        (5, inside),
        (lowest - 1, inside),
        (5, before),
        (5, after),
        (None, inside),
        (5, None),
    ]
    table = pl.DataFrame(
        [(f"u{n}", "i", *row) for n, row in enumerate(rows)],
        schema=["user_id", "item_id", "rating", "timestamp"],
        orient="row",
    )
    kept, _ = filters.filter_rows(table, PRESETS[name].filters)
    assert kept["user_id"].to_list() == ["u0", "u1"]
    assert PRESETS[name].filters.kcore == 10


def test_counts_are_compared_with_the_published_ones() -> None:
    rows = PRESETS["hnlmrec-toys"].compare(DatasetCounts(users=1000, items=500, pairs=12_000))
    assert rows == [
        ("users", "1,000", "22,338"),
        ("items", "500", "9,023"),
        ("pairs", "12,000", "200,511"),
        ("pairs per user", "12.00", "8.98"),
        ("pairs per item", "24.00", "22.22"),
        ("density", "2.40e-02", "9.95e-04"),
    ]


def test_notes_name_the_contradictions_of_the_publication() -> None:
    notes = {name: " ".join(preset.notes) for name, preset in PRESETS.items()}
    assert "8.98 pairs, below 10 (possible only if they are counts of train" in notes["hnlmrec-toys"]
    assert "9.62 pairs" in notes["hnlmrec-cds"]
    assert "1.83 pairs, below 10." in notes["hnlmrec-electronics"]
    assert "10-core, which" not in notes["hnlmrec-yelp"]
    assert all(density in notes["hnlmrec-electronics"] for density in ("4.1e-7", "4.1e-5"))
    assert PRESETS["hnlmrec-electronics"].paper.quantities()["density"].startswith("4.09e-05")
    assert notes["hnlmrec-cds"].startswith("Kept: rating 4 or more, from 2014-01-01 to before 2016-01-01")
