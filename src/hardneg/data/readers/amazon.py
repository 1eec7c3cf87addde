"""Amazon reviews of 2014, 2018 and 2023 (McAuley's group): JSON lines of reviews and of product metadata.

The releases of 2014 and 2018 (He & McAuley, 2016; Ni, Li & McAuley, 2019) have the same review fields, with timestamps
in seconds. The release of 2023 (Hou et al., 2024) has other field names and timestamps in milliseconds; its item is
`parent_asin`, which joins the variants of a product. Two thirds of the 2014 metadata files contain Python literals
instead of JSON.

All reviews are read, including unverified ones and repeated reviews of one product. `data split` and the presets keep
the earliest of a pair and count the others. Titles and descriptions may contain HTML.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hardneg.data import columns as c
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers.jsonlines import join_texts, json_string, list_values, open_json
from hardneg.data.times import TimeFormat

Year = Literal[2014, 2018, 2023]
_OLD = {c.USER_ID: "reviewerID", c.ITEM_ID: "asin", c.RATING: "overall", c.TIMESTAMP: "unixReviewTime"}
_NEW = {c.USER_ID: "user_id", c.ITEM_ID: "parent_asin", c.RATING: "rating", c.TIMESTAMP: "timestamp"}


def open_amazon(year: Year, reviews: Path, items: Path | None = None, *, with_reviews: bool = True) -> StreamedDataset:
    """Open reviews and, optionally, metadata of one release; plain or gzip.

    The review column is the heading and the text, on two lines if both exist. with_reviews: read review texts.
    """
    if year == 2023:
        texts = ("title", "text") if with_reviews else ()
        return open_json(reviews, items, _NEW, _convert_2023, TimeFormat("milliseconds", iso=False), texts=texts)
    texts = ("summary", "reviewText") if with_reviews else ()
    return open_json(
        reviews,
        items,
        _OLD,
        _convert_2014_or_2018,
        TimeFormat("seconds", iso=False),
        texts=texts,
        literals=year == 2014,
    )


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
