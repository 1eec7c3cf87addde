"""Ids and ratings of every reader: typed columns, and rows that lack them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data.dataset import ROW
from hardneg.data.readers.typed_columns import drop_missing_ids, type_interactions
from hardneg.data.row_report import RowCounter

PATH = Path("shop.parquet")


def type_frame(**columns: list[object]) -> tuple[pl.DataFrame, list[str]]:
    counter = RowCounter()
    frame = pl.DataFrame(columns).with_row_index(ROW, offset=1)
    (typed,) = type_interactions([frame], PATH, counter)
    return typed, list(map(str, counter.row_report))


def test_ids_of_numbers_are_whole_and_nan_is_none() -> None:
    typed, report = type_frame(user_id=[1.0, 2.0, float("nan"), None], item_id=[10.0, 11.0, 12.0, 10.0])
    assert typed.rows() == [("1", "10"), ("2", "11")]
    assert report == ["shop.parquet: 2 rows without an id (first: line 3); they were left out"]


def test_an_id_that_is_spelled_as_a_missing_value_is_none() -> None:
    typed, report = type_frame(user_id=["a", "NaN", "b"], item_id=["1", "2", "<NA>"])
    assert typed.rows() == [("a", "1")]
    assert report == [
        "shop.parquet: 2 rows with an id that is spelled as a missing value "
        "(first: line 2, user_id 'NaN', item_id '2'); they were left out"
    ]
    items = pl.DataFrame({ROW: [1, 2], "item_id": ["null", "1"]})
    assert drop_missing_ids(items, PATH, RowCounter(), "item_id")["item_id"].to_list() == ["1"]


def test_ratings_are_numbers_or_none() -> None:
    ratings = ["4.5", " 3 ", "", None, "x", "4,5", "nan"]
    typed, report = type_frame(user_id=["a"] * 7, item_id=list("1234567"), rating=ratings)
    assert typed["rating"].to_list() == [4.5, 3.0, None, None]
    assert report == [
        "shop.parquet: 2 rows without a number as rating (first: line 5, rating 'x'); they were left out",
        "shop.parquet: 1 row without a number as rating (first: line 6, rating '4,5'); "
        "they were left out; write a point for the comma",
    ]
    assert type_frame(user_id=["a", "b"], item_id=["1", "2"], rating=[float("nan"), 2.0])[0]["rating"].to_list() == [
        None,
        2.0,
    ]
