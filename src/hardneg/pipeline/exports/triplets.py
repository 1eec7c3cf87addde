"""Triplets of texts (anchor, positive, negative) that `SentenceTransformerTrainer` accepts."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np
import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.importing import ChunkedTable
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.pipeline.exports.inputs import ExportInputs
from hardneg.stage import Draft
from hardneg.storage import parts_folder
from hardneg.text import item_texts, profiles
from hardneg.types import Indices, block_slices

HISTORY = 10
"""Largest number of titles in an anchor."""
ROWS_AT_ONCE = 2**15
TRIPLETS = ("anchor", "positive", "negative")
IDS = (c.USER_ID, "positive_item_id", c.ITEM_ID)
WRITTEN, BLANK, EQUAL = "triplets", "rows without a text", "negatives with the text of the positive"
"""Notes: numbers of rows."""


class Anchors(Protocol):
    """Texts of users for their train pairs. source: their description."""

    source: str

    def texts(self, users: Indices, positives: Indices) -> pl.Series:
        """Return a text for each pair (rows,), "" where there is none."""
        ...


class ProfileAnchors:
    """The profile of the user, the same for all pairs."""

    source = "profiles of users"

    def __init__(self, users: list[str]) -> None:
        self._texts = pl.Series(users, dtype=pl.String)

    def texts(self, users: Indices, positives: Indices) -> pl.Series:  # noqa: ARG002
        """Return the profile of each user."""
        return self._texts.gather(users)


class HistoryAnchors:
    """Titles of other train items of the user, so that an anchor never names the positive."""

    source = f"titles of {HISTORY} other train items at most"

    def __init__(self, split: Split) -> None:
        train, items = split.train, split.texts
        titles = items[c.TITLE] if c.TITLE in items.columns else pl.repeat("", len(items), eager=True)
        blank = titles.str.strip_chars() == ""
        self._titles = pl.select(pl.when(~blank).then(titles)).to_series().append(pl.Series([None], dtype=pl.String))
        places = train.starts[:-1, None] + np.arange(HISTORY + 1)
        beyond = places >= train.starts[1:, None]
        self._history = np.where(beyond, -1, train.items[np.minimum(places, len(train) - 1)])

    def texts(self, users: Indices, positives: Indices) -> pl.Series:
        """Return the titles of the first other items of each user, joined."""
        history = self._history[users]
        left_out = (history < 0) | (history == positives[:, None])
        order = left_out.argsort(axis=1, kind="stable")[:, :HISTORY]
        none = len(self._titles) - 1
        chosen = np.take_along_axis(np.where(left_out, none, history), order, axis=1)
        columns = [self._titles.gather(column).alias(str(place)) for place, column in enumerate(chosen.T)]
        joined = pl.concat_str(pl.all(), separator="; ", ignore_nulls=True)
        return pl.DataFrame(columns).select(joined.fill_null("")).to_series()


def write_triplets(draft: Draft, given: ExportInputs) -> None:
    """Write triplets.parquet (anchor, positive, negative) and ids.parquet (user_id, positive_item_id, item_id).

    The anchor is the user's profile, or the titles of other train items. The negative is the text of the item, or the
    generated text where there is none. Rows without one of the texts, and those whose negative has the text of the
    positive, are left out and counted. Raises DataError where no row is left.
    """
    split, table = given.read_split(), read_parquet(given.source / "negatives.parquet")
    written = None if given.profiles_dir is None else profiles.read_profiles(given.profiles_dir)
    anchors = HistoryAnchors(split) if written is None else ProfileAnchors(written.users)
    texts, counts = pl.Series([*item_texts(split.texts), ""], dtype=pl.String), Counter[str]()
    paths = {draft.folder / "triplets.parquet": TRIPLETS, draft.folder / "ids.parquet": IDS}
    with parts_folder(draft.folder / "triplets.parquet") as parts:
        tables = {path: ChunkedTable(parts / path.stem) for path in paths}
        for block in block_slices(len(table), ROWS_AT_ONCE):
            rows = _read_texts(table[block], split, texts, anchors, counts)
            for path, columns in paths.items():
                tables[path].add(rows.select(columns))
        if not counts[WRITTEN]:
            raise DataError(
                f"{given.source} gives no triplet: {counts[BLANK]:,} of {len(table):,} rows lack a text; expected negatives "
                "that are items with texts, or generated texts"
            )
        for path, rows_on_disk in tables.items():
            rows_on_disk.flush()
            rows_on_disk.write(path)
    draft.notes |= {WRITTEN: counts[WRITTEN], BLANK: counts[BLANK], EQUAL: counts[EQUAL], "anchors": anchors.source}


def _read_texts(
    table: pl.DataFrame, split: Split, texts: pl.Series, anchors: Anchors, counts: Counter[str]
) -> pl.DataFrame:
    """Return the ids and texts of rows of negatives that have all three texts, and count the rows.

    texts: of the items, and "" at the end.
    """
    pairs = table["row"].to_numpy()
    items = table[c.ITEM_ID].replace_strict(split.vocabulary.items, default=-1, return_dtype=pl.Int64).fill_null(-1)
    users, positives = split.train.users[pairs], split.train.items[pairs]
    item_text = texts.gather(items.to_numpy() % len(texts))
    rows = table.select(
        *IDS,
        anchor=pl.lit(anchors.texts(users, positives)),
        positive=pl.lit(texts.gather(positives)),
        negative=pl.when(pl.lit(item_text) != "")
        .then(pl.lit(item_text))
        .otherwise(pl.col("negative_text").fill_null("")),
    )
    has_texts = pl.all_horizontal(pl.col(TRIPLETS).str.strip_chars() != "")
    whole = rows.filter(has_texts)
    triplets = whole.filter(pl.col("negative") != pl.col("positive"))
    counts.update({WRITTEN: len(triplets), BLANK: len(rows) - len(whole), EQUAL: len(whole) - len(triplets)})
    return triplets
