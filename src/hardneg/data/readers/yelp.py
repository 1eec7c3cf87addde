"""The Yelp Open Dataset: JSON lines of reviews (`..._review.json`) and of businesses (`..._business.json`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import jsonlines, typed_columns
from hardneg.data.readers.jsonlines import join_texts, json_string, list_values
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

FIELDS = {c.USER_ID: "user_id", c.ITEM_ID: "business_id", c.RATING: "stars", c.TIMESTAMP: "date", c.REVIEW: "text"}


def open_yelp(reviews: Path, items: Path | None = None, *, with_reviews: bool = True) -> StreamedDataset:
    """Open reviews and, optionally, businesses; plain or gzip. Dates have no time zone and are read as UTC.

    Attributes are city and state, then the attributes of the business. with_reviews: read review texts.
    """
    fields = {ours: theirs for ours, theirs in FIELDS.items() if with_reviews or ours != c.REVIEW}
    return StreamedDataset(
        partial(_read_interactions, reviews, fields), partial(_read_items, items) if items else None, items
    )


def _read_interactions(
    path: Path, fields: dict[str, str], counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    for frame in jsonlines.json_columns(path, tuple(fields.values()), counter, progress):
        renamed = frame.select(ROW, *(pl.col(theirs).alias(ours) for ours, theirs in fields.items()))
        yield typed_columns.type_interactions(renamed, path, counter, "date", id_names="user_id or business_id")


def _read_items(path: Path, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    for block in jsonlines.json_objects(path, counter, progress):
        numbers, items = [number for number, _ in block], [_convert(record) for _, record in block]
        yield typed_columns.type_items(numbers, items, path, counter)


def _convert(record: dict[str, Any]) -> dict[str, str]:
    place = join_texts([record.get("city"), record.get("state")])
    return {
        c.ITEM_ID: json_string(record.get("business_id")),
        c.TITLE: json_string(record.get("name")),
        "categories": join_texts(record.get("categories")),
        "attributes": join_texts([place, list_values(record.get("attributes"))], "; "),
    }
