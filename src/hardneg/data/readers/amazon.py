"""Amazon reviews of 2014, 2018 and 2023 (McAuley's group): JSON lines of reviews and of product metadata.

2014 and 2018 (He & McAuley, 2016; Ni, Li & McAuley, 2019) share the fields of a review; times are in seconds. In 2023
(Hou et al., 2024) they have other names, times are in milliseconds, and the item is `parent_asin`, which joins the
variants of a product. Two thirds of the 2014 metadata files are lines of Python literals in place of JSON.

Everything is taken as it is: unverified reviews, and several of one user about one product, stay. `data split` and the
presets keep the earliest of a pair and count the others. Titles and descriptions may hold HTML.
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
from hardneg.data.readers import jsonlines, typed_columns
from hardneg.data.readers.json_text import joined_text, json_words, named_values
from hardneg.data.readers.streaming import StreamedDataset
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

Year = Literal[2014, 2018, 2023]


@dataclass(frozen=True)
class Release:
    """How a release names the fields of a review; what heads the text, then the text."""

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
    """Reviews and, where given, metadata of one release; plain or gzip.

    A review is its heading and its text on two lines, or the one that is there. Without reviews the texts are left where they are.
    """
    release = _RELEASES[year]
    read = partial(_interactions, reviews, release, with_reviews)
    return StreamedDataset(read, partial(_items, items, year) if items else None, items)


def _interactions(
    path: Path, release: Release, with_reviews: bool, tally: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    fields = {
        c.USER_ID: release.user_id,
        c.ITEM_ID: release.item_id,
        c.RATING: release.rating,
        c.TIMESTAMP: release.timestamp,
    }
    texts = release.texts if with_reviews else ()
    for frame in jsonlines.json_columns(path, (*fields.values(), *texts), tally, progress):
        said = [pl.when(pl.col(text).str.strip_chars() != "").then(pl.col(text)) for text in texts]
        review = [pl.concat_str(said, separator="\n", ignore_nulls=True).alias(c.REVIEW)] if said else []
        ours = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in fields.items()), *review)
        called = f"{release.user_id} or {release.item_id}"
        yield typed_columns.interactions(ours, path, tally, release.clock, called=called)


def _items(path: Path, year: Year, tally: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    describe = _new_item if year == 2023 else _old_item
    for block in jsonlines.json_objects(path, tally, progress, literals=year == 2014):
        yield typed_columns.items([number for number, _ in block], [describe(found) for _, found in block], path, tally)


def _old_item(found: dict[str, Any]) -> dict[str, str]:
    """2014 has `categories`, lists of paths from the root, and one text; 2018 `category`, one path, and lists of texts."""
    return {
        c.ITEM_ID: json_words(found.get("asin")),
        c.TITLE: json_words(found.get("title")),
        "brand": json_words(found.get("brand")),
        "categories": joined_text([found.get("category"), found.get("categories")]),
        "attributes": joined_text(found.get("feature"), "; "),
        "description": joined_text(found.get("description"), " "),
    }


def _new_item(found: dict[str, Any]) -> dict[str, str]:
    return {
        c.ITEM_ID: json_words(found.get("parent_asin")),
        c.TITLE: json_words(found.get("title")),
        "brand": json_words(found.get("store")),
        "categories": joined_text([found.get("main_category"), found.get("categories")]),
        "attributes": joined_text([found.get("features"), named_values(found.get("details"))], "; "),
        "description": joined_text(found.get("description"), " "),
    }
