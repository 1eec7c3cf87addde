"""The presets: what they keep, and what is said of the paper's counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import polars as pl
import pytest

from hardneg.cli.importing import PresetName as CommandLineName
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
    kept, _ = filters.apply_by_row(table, PRESETS[name].filters)
    assert kept["user_id"].to_list() == ["u0", "u1"]
    assert PRESETS[name].filters.kcore == 10


def test_found_counts_stand_beside_the_papers() -> None:
    rows = PRESETS["hnlmrec-toys"].beside(DatasetCounts(users=1000, items=500, pairs=12_000))
    assert rows == [
        ("users", "1,000", "22,338"),
        ("items", "500", "9,023"),
        ("pairs", "12,000", "200,511"),
        ("pairs a user", "12.00", "8.98"),
        ("pairs an item", "24.00", "22.22"),
        ("density", "2.40e-02", "9.95e-04"),
    ]


def test_what_does_not_fit_in_the_paper_is_said_and_nothing_else() -> None:
    said = {name: " ".join(preset.notes) for name, preset in PRESETS.items()}
    assert (
        "rule out: their mean is 8.98 pairs, below 10 (possible only if they are counts of train"
        in said["hnlmrec-toys"]
    )
    assert "their mean is 9.62 pairs" in said["hnlmrec-cds"]
    assert "their mean is 1.83 pairs, below 10." in said["hnlmrec-electronics"]
    assert "rule out" not in said["hnlmrec-yelp"]
    assert "density of 4.1e-7, which its counts make 4.1e-5" in said["hnlmrec-electronics"]
    assert f"{PRESETS['hnlmrec-electronics'].paper.density:.1e}" == "4.1e-05"
    assert said["hnlmrec-cds"].startswith("Kept: rating 4 or more, from 2014-01-01 to before 2016-01-01")
