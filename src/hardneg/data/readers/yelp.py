"""The Yelp Open Dataset: JSON lines of reviews (`..._review.json`) and of businesses (`..._business.json`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardneg.data import columns as c
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers.jsonlines import join_texts, json_string, list_values, open_json
from hardneg.data.times import TimeFormat

FIELDS = {c.USER_ID: "user_id", c.ITEM_ID: "business_id", c.RATING: "stars", c.TIMESTAMP: "date"}


def open_yelp(reviews: Path, items: Path | None = None, *, with_reviews: bool = True) -> StreamedDataset:
    """Open reviews and, optionally, businesses; plain or gzip. Dates have no time zone and are read as UTC.

    Attributes are city and state, then the attributes of the business. with_reviews: read review texts.
    """
    return open_json(reviews, items, FIELDS, _convert, TimeFormat(), texts=("text",) if with_reviews else ())


def _convert(record: dict[str, Any]) -> dict[str, str]:
    place = join_texts([record.get("city"), record.get("state")])
    return {
        c.ITEM_ID: json_string(record.get("business_id")),
        c.TITLE: json_string(record.get("name")),
        "categories": join_texts(record.get("categories")),
        "attributes": join_texts([place, list_values(record.get("attributes"))], "; "),
    }
