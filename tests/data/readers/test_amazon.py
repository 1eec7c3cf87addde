"""Amazon reviews and metadata in the published fields of each release."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardneg.data import FilterConfig
from hardneg.data.readers import open_amazon
from hardneg.data.readers.amazon import Year
from hardneg.errors import DataError

from ..streamed import read_all

OLD = {
    "reviewerID": "A2SUAM1J3GNN3B",
    "asin": "0000013714",
    "reviewerName": "J. McDonald",
    "helpful": [2, 3],
    "reviewText": "I bought this for my husband.",
    "overall": 5.0,
    "summary": "Heavenly Highway Hymns",
    "unixReviewTime": 1252800000,
    "reviewTime": "09 13, 2009",
}
NEW = {
    "rating": 4.0,
    "title": "Such a lovely scent",
    "text": "This spray is really nice.<br />I like it.",
    "images": [],
    "asin": "B00YQ6X8EO",
    "parent_asin": "B00YQ6X8EP",
    "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
    "timestamp": 1588687728923,
    "helpful_vote": 0,
    "verified_purchase": True,
}


def put(folder: Path, rows: list[dict[str, Any] | str], name: str) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    path = folder / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("year", [2014, 2018])
@pytest.mark.parametrize("name", ["reviews.json", "reviews.json.gz"])
def test_old_reviews(tmp_path: Path, year: Year, name: str) -> None:
    rows: list[dict[str, Any] | str] = [
        OLD,
        {**OLD, "style": {"Format:": " Hardcover"}, "vote": "3", "verified": False, "image": ["x"], "summary": None},
        {"reviewerID": "B", "asin": "1", "overall": 3, "unixReviewTime": None},
        {**OLD, "summary": " "},
        {**OLD, "reviewText": ""},
    ]
    data = read_all(open_amazon(year, put(tmp_path, rows, name)))
    assert data.interactions.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "rating": pl.Float64,
        "timestamp": pl.Float64,
        "review": pl.String,
    }
    ids = ("A2SUAM1J3GNN3B", "0000013714", 5.0, 1252800000)
    assert data.interactions.rows() == [
        (*ids, "Heavenly Highway Hymns\nI bought this for my husband."),
        (*ids, "I bought this for my husband."),
        ("B", "1", 3.0, None, None),
        (*ids, "I bought this for my husband."),
        (*ids, "Heavenly Highway Hymns"),
    ]
    assert data.items.columns == ["item_id"]
    assert data.items.is_empty()
    assert data.row_report == ()


def test_new_reviews_have_milliseconds_and_the_parent_item(tmp_path: Path) -> None:
    data = read_all(open_amazon(2023, put(tmp_path, [NEW], "Beauty.jsonl")))
    assert data.interactions.rows() == [
        (
            "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
            "B00YQ6X8EP",
            4.0,
            1588687728.923,
            "Such a lovely scent\nThis spray is really nice.<br />I like it.",
        )
    ]


def test_review_texts_are_optional(tmp_path: Path) -> None:
    path = put(tmp_path, [OLD], "reviews.json")
    with_them, without = read_all(open_amazon(2018, path)), read_all(open_amazon(2018, path, with_reviews=False))
    assert without.interactions.equals(with_them.interactions.drop("review"))


def test_only_bad_rows_are_left_out_and_reported(tmp_path: Path) -> None:
    rows: list[dict[str, Any] | str] = [
        OLD,
        "{'reviewerID': 'A', 'asin': '1'}",
        {**OLD, "reviewerID": " "},
        {**OLD, "asin": None},
        {**OLD, "overall": "five"},
        {**OLD, "overall": True},
        {**OLD, "unixReviewTime": "yesterday"},
        {**OLD, "unixReviewTime": 1e300},
        {**OLD, "overall": " 4.0 ", "unixReviewTime": "1252800000"},
        "",
        {key: value for key, value in OLD.items() if key not in ("overall", "unixReviewTime")},
        '{"reviewerID": "cut',
    ]
    data = read_all(open_amazon(2018, put(tmp_path, rows, "r.json")))
    assert data.interactions.select("rating", "timestamp").rows() == [
        (5.0, 1252800000),
        (4.0, 1252800000),
        (None, None),
    ]
    assert [(entry.where, entry.count, entry.first) for entry in data.row_report] == [
        ("r.json", 2, "line 2: \"{'reviewerID': 'A', 'asin': '1'}\""),
        ("r.json", 2, "line 3"),
        ("r.json", 2, "line 5, rating 'five'"),
        ("r.json", 2, "line 7, timestamp 'yesterday'"),
    ]


def test_another_release_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r\.json: 2 rows without user_id or parent_asin"):
        read_all(open_amazon(2023, put(tmp_path, [OLD, OLD], "r.json")))


def test_python_literals_are_not_read_as_reviews(tmp_path: Path) -> None:
    """Only the metadata of 2014 were released so."""
    with pytest.raises(DataError, match=r"found no usable row, expected at least one .*1 row without a JSON object"):
        read_all(open_amazon(2014, put(tmp_path, [repr(OLD)], "r.json")))


def test_metadata_of_2014_are_python_literals_or_json(tmp_path: Path) -> None:
    meta = {
        "asin": "0000013714",
        "title": 'Girls\' Ballet "Tutu"',
        "price": 3.17,
        "imUrl": "http://ecx.images-amazon.com/images/I/x.jpg",
        "related": {"also_bought": ["B00JHONN1S"]},
        "salesRank": {"Toys & Games": 211836},
        "brand": "Coxlures",
        "categories": [["Sports & Outdoors", "Other Sports", "Dance"], ["Sports & Outdoors", "Clothing"]],
        "description": "Comes as\na pair.",
    }
    items: list[dict[str, Any] | str] = [
        repr(meta),
        {"asin": "B"},
        repr({**meta, "asin": "elsewhere"}),
        "{'asin': 'cut",
        repr({**meta, "title": "again"}),
        "{'title': 'no asin'}",
    ]
    reviews = put(tmp_path, [OLD, {**OLD, "asin": "B"}, {**OLD, "asin": "without metadata"}], "r.json")
    data = read_all(open_amazon(2014, reviews, put(tmp_path, items, "meta.json.gz")))
    assert data.items.schema == dict.fromkeys(
        ["item_id", "title", "brand", "categories", "attributes", "description"], pl.String
    )
    assert data.items.rows() == [
        (
            "0000013714",
            'Girls\' Ballet "Tutu"',
            "Coxlures",
            "Sports & Outdoors, Other Sports, Dance, Clothing",
            "",
            "Comes as\na pair.",
        ),
        ("B", "", "", "", "", ""),
    ]
    assert [(entry.reason, entry.count) for entry in data.row_report] == [
        ("without a JSON object", 1),
        ("written as Python literals instead of JSON", 4),
        ("without an id", 1),
        ("of items without interactions", 1),
        ("repeating an item", 1),
    ]
    assert data.row_report[-1].first == "line 5, item '0000013714'"


def test_metadata_of_2018(tmp_path: Path) -> None:
    meta = {
        "asin": "0000013714",
        "title": "Slime Time &amp; more",
        "feature": ["Product Dimensions: 8.7 x 3.6", "Weight: 2 ounces"],
        "description": ["", "Let loose,", "with slime."],
        "price": "$3.17",
        "brand": "Coxlures",
        "category": ["Toys & Games", "Novelty"],
        "tech1": "",
        "details": {"Shipping:": "x"},
        "also_buy": ["B00JHONN1S"],
        "similar_item": "",
    }
    data = read_all(
        open_amazon(2018, put(tmp_path, [OLD], "r"), put(tmp_path, [meta, repr({"asin": "0000013714"})], "m"))
    )
    assert data.items.rows() == [
        (
            "0000013714",
            "Slime Time &amp; more",
            "Coxlures",
            "Toys & Games, Novelty",
            "Product Dimensions: 8.7 x 3.6; Weight: 2 ounces",
            "Let loose, with slime.",
        )
    ]
    assert [entry.reason for entry in data.row_report] == ["without a JSON object"]


def test_metadata_of_2023(tmp_path: Path) -> None:
    meta = {
        "main_category": "All Beauty",
        "title": "Howard LC0008",
        "average_rating": 4.8,
        "features": ["Cleans", "Protects"],
        "description": [],
        "price": None,
        "images": [{"thumb": "x"}],
        "videos": [],
        "store": "Howard Products",
        "categories": ["Beauty", "All Beauty"],
        "details": {"Package": {"Size": "7 x 5", "Weight": 1.5}, "UPC": "617390882781", "Empty": None},
        "parent_asin": "B00YQ6X8EP",
        "bought_together": None,
        "half": "\ud800",
    }
    data = read_all(open_amazon(2023, put(tmp_path, [NEW], "r"), put(tmp_path, [{**meta, "title": "x\ud800y"}], "m")))
    assert data.items.rows() == [
        (
            "B00YQ6X8EP",
            "x?y",
            "Howard Products",
            "All Beauty, Beauty",
            "Cleans; Protects; Package: Size: 7 x 5, Weight: 1.5; UPC: 617390882781",
            "",
        )
    ]


def test_filters_leave_rows_in_the_order_of_the_file_and_drop_repeats(tmp_path: Path) -> None:
    def row(user: str, item: str, time: int, stars: float) -> dict[str, Any]:
        return {**OLD, "reviewerID": user, "asin": item, "unixReviewTime": time, "overall": stars}

    times = [row("b", "2", 9, 5), row("a", "1", 7, 5), row("a", "1", 3, 4), row("a", "2", 1, 3), row("c", "9", 2, 5)]
    data = read_all(open_amazon(2018, put(tmp_path, times, "r")), FilterConfig(min_rating=4, kcore=1))
    assert data.interactions.select("user_id", "item_id", "timestamp").rows() == [
        ("b", "2", 9),
        ("a", "1", 3),
        ("c", "9", 2),
    ]
    assert [(entry.reason, entry.count) for entry in data.row_report] == [
        ("rated lower or not at all", 1),
        ("repeating a pair, of which the earliest is kept", 1),
    ]
