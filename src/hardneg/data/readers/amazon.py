"""Amazon reviews of 2014, 2018 and 2023 (McAuley's group): JSON lines of reviews and of product metadata.

The releases of 2014 and 2018 (He & McAuley, 2016; Ni, Li & McAuley, 2019) have the same review fields, with timestamps
in seconds. The release of 2023 (Hou et al., 2024) has other field names and timestamps in milliseconds; its item is
`parent_asin`, which joins the variants of a product. Two thirds of the 2014 metadata files contain Python literals
instead of JSON.

All reviews are read, including unverified ones and repeated reviews of one product. `data split` and the presets keep
the earliest of a pair and count the others. Titles and descriptions may contain HTML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import jsonlines, typed_columns
from hardneg.data.readers.jsonlines import join_texts, json_string, list_values
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

Year = Literal[2014, 2018, 2023]


@dataclass(frozen=True)
class Release:
    """Field names of a release. texts: names of the heading and of the text of a review."""

    user_id: str
    item_id: str
    rating: str
    timestamp: str
    texts: tuple[str, str]
    clock: typed_columns.Clock = "seconds"


_OLD = Release("reviewerID", "asin", "overall", "unixReviewTime", ("summary", "reviewText"))
_NEW = Release("user_id", "parent_asin", "rating", "timestamp", ("title", "text"), "milliseconds")
_RELEASES: dict[Year, Release] = {2014: _OLD, 2018: _OLD, 2023: _NEW}


def open_amazon(year: Year, reviews: Path, items: Path | None = None, *, with_reviews: bool = True) -> StreamedDataset:
    """Open reviews and, optionally, metadata of one release; plain or gzip.

    The review column is the heading and the text, on two lines if both exist. with_reviews: read review texts.
    """
    release = _RELEASES[year]
    read = partial(_read_interactions, reviews, release, with_reviews)
    return StreamedDataset(read, partial(_read_items, items, year) if items else None, items)


def _read_interactions(
    path: Path, release: Release, with_reviews: bool, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    fields = {
        c.USER_ID: release.user_id,
        c.ITEM_ID: release.item_id,
        c.RATING: release.rating,
        c.TIMESTAMP: release.timestamp,
    }
    texts = release.texts if with_reviews else ()
    for frame in jsonlines.json_columns(path, (*fields.values(), *texts), counter, progress):
        not_blank = [pl.when(pl.col(text).str.strip_chars() != "").then(pl.col(text)) for text in texts]
        review = [pl.concat_str(not_blank, separator="\n", ignore_nulls=True).alias(c.REVIEW)] if texts else []
        renamed = frame.select(ROW, *(pl.col(theirs).alias(ours) for ours, theirs in fields.items()), *review)
        id_names = f"{release.user_id} or {release.item_id}"
        yield typed_columns.type_interactions(renamed, path, counter, release.clock, id_names=id_names)


def _read_items(path: Path, year: Year, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    convert = _convert_2023 if year == 2023 else _convert_2014_or_2018
    for block in jsonlines.json_objects(path, counter, progress, literals=year == 2014):
        numbers, items = [number for number, _ in block], [convert(record) for _, record in block]
        yield typed_columns.type_items(numbers, items, path, counter)


def _convert_2014_or_2018(record: dict[str, Any]) -> dict[str, str]:
    # 2014: `categories`, a list of paths from the root, and text strings. 2018: `category`, one path, and text lists.
    return {
        c.ITEM_ID: json_string(record.get("asin")),
        c.TITLE: json_string(record.get("title")),
        "brand": json_string(record.get("brand")),
        "categories": join_texts([record.get("category"), record.get("categories")]),
        "attributes": join_texts(record.get("feature"), "; "),
        "description": join_texts(record.get("description"), " "),
    }


def _convert_2023(record: dict[str, Any]) -> dict[str, str]:
    return {
        c.ITEM_ID: json_string(record.get("parent_asin")),
        c.TITLE: json_string(record.get("title")),
        "brand": json_string(record.get("store")),
        "categories": join_texts([record.get("main_category"), record.get("categories")]),
        "attributes": join_texts([record.get("features"), list_values(record.get("details"))], "; "),
        "description": join_texts(record.get("description"), " "),
    }
