"""The Yelp Open Dataset in its published fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hardneg.data.readers import open_yelp

from ..streamed import read_all

REVIEW = {
    "review_id": "KU_O5udG6zpxOg-VcAEodg",
    "user_id": "mh_-eMZ6K5RLWhZyISBhwA",
    "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
    "stars": 3.0,
    "useful": 0,
    "funny": 0,
    "cool": 0,
    "text": "If you decide to eat here,\nbe aware.",
    "date": "2018-07-07 22:09:11",
}
BUSINESS = {
    "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw",
    "name": "Turning Point",
    "address": "1460 Bethlehem Pike",
    "city": "North Wales",
    "state": "PA",
    "stars": 3.0,
    "review_count": 169,
    "is_open": 1,
    "attributes": {"NoiseLevel": "u'average'", "OutdoorSeating": "False", "BusinessParking": None},
    "categories": "Restaurants, Breakfast & Brunch",
    "hours": None,
}


def put(folder: Path, rows: list[dict[str, Any]], name: str) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_reviews(tmp_path: Path) -> None:
    rows = [REVIEW, {**REVIEW, "date": "2011-01-26", "text": " "}, {**REVIEW, "date": None}]
    data = read_all(open_yelp(put(tmp_path, rows, "review.json")))
    ids = ("mh_-eMZ6K5RLWhZyISBhwA", "XQfwVwDr-v0ZS3_CbbE5Xw", 3.0)
    moments = [datetime(2018, 7, 7, 22, 9, 11, tzinfo=UTC), datetime(2011, 1, 26, tzinfo=UTC)]
    assert data.interactions.rows() == [
        (*ids, int(moments[0].timestamp()), "If you decide to eat here,\nbe aware."),
        (*ids, int(moments[1].timestamp()), None),
        (*ids, None, "If you decide to eat here,\nbe aware."),
    ]
    assert data.row_report == ()
    without = read_all(open_yelp(put(tmp_path, rows, "review.json"), with_reviews=False))
    assert without.interactions.columns == ["user_id", "item_id", "rating", "timestamp"]


def test_only_bad_rows_are_left_out_and_reported(tmp_path: Path) -> None:
    rows = [
        REVIEW,
        {**REVIEW, "date": "7 July 2018"},
        {**REVIEW, "date": "2018-13-07 22:09:11"},
        {**REVIEW, "date": 1531001351},
        {**REVIEW, "business_id": ""},
        {**REVIEW, "stars": "many"},
    ]
    data = read_all(open_yelp(put(tmp_path, rows, "review.json")))
    assert len(data.interactions) == 1
    assert [(entry.where, entry.count, entry.first) for entry in data.row_report] == [
        ("review.json", 1, "line 5"),
        ("review.json", 1, "line 6, rating 'many'"),
        ("review.json", 3, "line 2, timestamp '7 July 2018'"),
    ]


def test_businesses(tmp_path: Path) -> None:
    plain = {"business_id": "b", "name": "Gräfin", "categories": None, "attributes": None}
    reviews = put(tmp_path, [REVIEW, {**REVIEW, "business_id": "b"}], "review.json")
    data = read_all(
        open_yelp(reviews, put(tmp_path, [BUSINESS, plain, {**plain, "business_id": "c"}], "business.json"))
    )
    assert data.items.select("item_id", "title", "categories", "attributes").rows() == [
        (
            "XQfwVwDr-v0ZS3_CbbE5Xw",
            "Turning Point",
            "Restaurants, Breakfast & Brunch",
            "North Wales, PA; NoiseLevel: u'average'; OutdoorSeating: False",
        ),
        ("b", "Gräfin", "", ""),
    ]
    (entry,) = data.row_report
    assert (entry.where, entry.count, entry.first) == (("business.json", 1, "line 3, item 'c'"))
