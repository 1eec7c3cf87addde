"""The Yelp Open Dataset: JSON lines of reviews (`..._review.json`) and of businesses (`..._business.json`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.readers import jsonlines, typed_columns
from hardneg.data.readers.json_text import joined_text, json_words, named_values
from hardneg.data.readers.streaming import StreamedDataset
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

FIELDS = {c.USER_ID: "user_id", c.ITEM_ID: "business_id", c.RATING: "stars", c.TIMESTAMP: "date", c.REVIEW: "text"}


def open_yelp(reviews: Path, items: Path | None = None, *, with_reviews: bool = True) -> StreamedDataset:
    """Reviews and, where given, businesses; plain or gzip. Dates have no zone; they are taken as UTC.

    Attributes are city and state, then the business's own. Without reviews the texts are left where they are.
    """
    fields = {ours: theirs for ours, theirs in FIELDS.items() if with_reviews or ours != c.REVIEW}
    return StreamedDataset(partial(_interactions, reviews, fields), partial(_items, items) if items else None, items)


def _interactions(
    path: Path, fields: dict[str, str], tally: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    for frame in jsonlines.json_columns(path, tuple(fields.values()), tally, progress):
        ours = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in fields.items()))
        yield typed_columns.interactions(ours, path, tally, "date", called="user_id or business_id")


def _items(path: Path, tally: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    for block in jsonlines.json_objects(path, tally, progress):
        yield typed_columns.items([number for number, _ in block], [_item(found) for _, found in block], path, tally)


def _item(found: dict[str, Any]) -> dict[str, str]:
    place = joined_text([found.get("city"), found.get("state")])
    return {
        c.ITEM_ID: json_words(found.get("business_id")),
        c.TITLE: json_words(found.get("name")),
        "categories": joined_text(found.get("categories")),
        "attributes": joined_text([place, named_values(found.get("attributes"))], "; "),
    }
