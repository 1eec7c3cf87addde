"""Splits: training data, held-out pairs, and the ids of dense indices.

All packages above `data` read a split, never a dataset's interactions, so held-out reviews cannot leak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import drop_repeated_items, read_parquet
from hardneg.data.division import EMPTY_PARTS
from hardneg.data.interactions import Interactions, union
from hardneg.data.products import Products
from hardneg.data.row_report import RowReport, report_notes
from hardneg.errors import DataError
from hardneg.stage import Draft
from hardneg.types import Indices

KIND = "split"
LEFT_OUT = "left_out.parquet"
"""Known pairs that are in no part, which recommendations alone read; absent where there are none."""
TRAINING_DATA = ("train.parquet", "train_reviews.parquet", "users.parquet", "items.parquet")
"""Files that text, negatives and training may read."""


@dataclass(frozen=True)
class Vocabulary:
    """The ids of dense indices: user_ids[user], item_ids[item]."""

    user_ids: list[str]
    item_ids: list[str]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Vocabulary:
        """Number the users and items of a frame: by value if all ids are whole numbers, else by spelling."""
        return cls(_sort_ids(frame[c.USER_ID]), _sort_ids(frame[c.ITEM_ID]))

    @cached_property
    def users(self) -> dict[str, int]:
        """user_id -> user."""
        return {name: number for number, name in enumerate(self.user_ids)}

    @cached_property
    def items(self) -> dict[str, int]:
        """item_id -> item."""
        return {name: number for number, name in enumerate(self.item_ids)}


def _sort_ids(ids: pl.Series) -> list[str]:
    """Return the distinct ids, sorted as numbers if all are whole numbers, else as strings."""
    distinct = ids.unique().to_list()
    if all(text.isascii() and text.isdigit() for text in distinct):
        return sorted(distinct, key=lambda text: (int(text), text))
    return sorted(distinct)


@dataclass(frozen=True)
class Split:
    """Train, valid and test pairs over one vocabulary, item texts, and the reviews of train pairs.

    texts: one row per item, in order of item index, with the string columns of the item table.
    reviews: user, item and review of train pairs. notes: how the pairs were divided (`hardneg.data.division`);
    of a split that was read, why parts have no pairs. left_out: pairs of the dataset that are in no part, because of
    their rating or time; users have these items too.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    vocabulary: Vocabulary
    texts: pl.DataFrame
    reviews: pl.DataFrame
    row_report: RowReport = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    left_out: Interactions | None = None

    @cached_property
    def owned(self) -> Interactions:
        """Train pairs, and those of the user with other items that are the same product (see `Products`)."""
        return Products.of(self.texts).add_other_ids(self.train)

    @cached_property
    def known(self) -> Interactions:
        """Known pairs, held-out and left-out ones included, for recommendations."""
        parts = [self.valid, self.test, *([] if self.left_out is None else [self.left_out])]
        return reduce(union, parts, self.train)

    @classmethod
    def of(
        cls,
        frame: pl.DataFrame,
        vocabulary: Vocabulary,
        items: pl.DataFrame,
        *,
        row_report: RowReport = (),
        notes: Mapping[str, Any] | None = None,
    ) -> Split:
        """Build from a frame of user_id, item_id, split (and review if known) and an item table."""
        numbered = _number(frame, vocabulary)
        n_users, n_items = len(vocabulary.user_ids), len(vocabulary.item_ids)

        def pairs(name: str) -> Interactions:
            part = numbered.filter(pl.col(c.SPLIT) == name)
            return Interactions.of(part[c.USER].to_numpy(), part[c.ITEM].to_numpy(), n_users=n_users, n_items=n_items)

        items, repeated = drop_repeated_items(items, "item table")
        order = pl.DataFrame({c.ITEM_ID: vocabulary.item_ids}, schema={c.ITEM_ID: pl.String})
        texts = order.join(items, on=c.ITEM_ID, how="left", maintain_order="left")
        texts = texts.with_columns(pl.selectors.string().fill_null(""))
        train, valid, test = map(pairs, c.PARTS)
        reviews = _select_train_reviews(numbered)
        return cls(train, valid, test, vocabulary, texts, reviews, row_report + repeated, notes or {})

    def require_pairs(self, part: Literal["valid", "test"]) -> None:
        """Raise DataError, with the reason, where a held-out part has no pairs."""
        if not len(getattr(self, part)):
            use = {"valid": "validation pairs, which choose the epoch", "test": "test pairs, which are scored"}[part]
            raise DataError(f"the split has no {use}; {reason_of_no_pairs(self.notes, part)}")

    def with_left_out(self, interactions: pl.DataFrame) -> Split:
        """Return the split with the pairs of a dataset over its vocabulary that are in no part."""
        ids = self.vocabulary
        inside = pl.col(c.USER_ID).is_in(ids.user_ids) & pl.col(c.ITEM_ID).is_in(ids.item_ids)
        pairs = _number(interactions.select(c.USER_ID, c.ITEM_ID).filter(inside).unique(), ids)
        users, items = pairs[c.USER].to_numpy(), pairs[c.ITEM].to_numpy()
        outside = ~self.known.contains(users, items)
        sizes = {"n_users": self.train.n_users, "n_items": self.train.n_items}
        left_out = Interactions.of(users[outside], items[outside], **sizes)
        return replace(self, left_out=left_out if len(left_out) else None)

    def with_part(self, part: Literal["valid", "test"], users: Indices, items: Indices) -> Split:
        """Return the split with other held-out pairs in one part."""
        pairs = Interactions.of(users, items, n_users=self.train.n_users, n_items=self.train.n_items)
        return replace(self, valid=pairs) if part == "valid" else replace(self, test=pairs)


def _number(frame: pl.DataFrame, vocabulary: Vocabulary) -> pl.DataFrame:
    """Add the columns user and item, dense indices of the ids, all of which must be in the vocabulary."""
    return frame.with_columns(
        pl.col(c.USER_ID).replace_strict(vocabulary.users, return_dtype=pl.Int64).alias(c.USER),
        pl.col(c.ITEM_ID).replace_strict(vocabulary.items, return_dtype=pl.Int64).alias(c.ITEM),
    )


def _select_train_reviews(frame: pl.DataFrame) -> pl.DataFrame:
    if c.REVIEW not in frame.columns:
        return pl.DataFrame(schema={c.USER: pl.Int64, c.ITEM: pl.Int64, c.REVIEW: pl.String})
    has_review = pl.col(c.REVIEW).fill_null("").str.strip_chars() != ""
    return frame.filter((pl.col(c.SPLIT) == "train") & has_review).select(c.USER, c.ITEM, c.REVIEW).sort(c.USER, c.ITEM)


def reason_of_no_pairs(notes: Mapping[str, Any], part: str) -> str:
    """Return why a part has no pairs, by the notes of a split."""
    return str(notes.get(EMPTY_PARTS, {}).get(part, "use a split that has some"))


def write_split(draft: Draft, split: Split) -> None:
    """Write three Parquet files of pairs, the vocabulary, the texts and the train reviews."""
    draft.notes |= {
        "rows left out": report_notes(split.row_report),
        "users": split.train.n_users,
        "items": split.train.n_items,
        **_count_texts(split.texts),
        **{f"{name} pairs": len(getattr(split, name)) for name in c.PARTS},
        **split.notes,
    }
    files = {f"{name}.parquet": getattr(split, name) for name in c.PARTS}
    if split.left_out is not None:
        files[LEFT_OUT] = split.left_out
        draft.notes["known pairs in no part"] = len(split.left_out)
    for file, pairs in files.items():
        pl.DataFrame({c.USER: pairs.users, c.ITEM: pairs.items}).write_parquet(draft.folder / file)
    users = pl.DataFrame({c.USER_ID: split.vocabulary.user_ids}, schema={c.USER_ID: pl.String})
    users.write_parquet(draft.folder / "users.parquet")
    split.texts.write_parquet(draft.folder / "items.parquet")
    split.reviews.write_parquet(draft.folder / "train_reviews.parquet")


def _count_texts(items: pl.DataFrame) -> dict[str, int]:
    """Return a note with the number of items that have a text, if an item table was given."""
    names = [name for name in c.TEXT if name in items.columns]
    if not names:
        return {}
    has_text = pl.any_horizontal(pl.col(names).str.strip_chars() != "")
    return {"items with a text": items.select(has_text.sum()).item()}


def read_split(folder: Path) -> Split:
    """Read a split folder."""
    notes = artifacts.read_manifest(folder, KIND)["notes"]
    users, texts = read_parquet(folder / "users.parquet"), read_parquet(folder / "items.parquet")
    vocabulary = Vocabulary(users[c.USER_ID].to_list(), texts[c.ITEM_ID].to_list())

    def pairs(file: str) -> Interactions:
        frame = read_parquet(folder / file)
        users_of_pairs, items_of_pairs = (frame[column].to_numpy().astype(np.int64) for column in (c.USER, c.ITEM))
        return Interactions(users_of_pairs, items_of_pairs, n_users=len(users), n_items=len(texts))

    train, valid, test = (pairs(f"{name}.parquet") for name in c.PARTS)
    left_out = pairs(LEFT_OUT) if (folder / LEFT_OUT).is_file() else None
    reviews, empty = read_parquet(folder / "train_reviews.parquet"), {EMPTY_PARTS: notes.get(EMPTY_PARTS, {})}
    return Split(train, valid, test, vocabulary, texts, reviews, notes=empty, left_out=left_out)


def training_data_hash(folder: Path) -> str:
    """Return the hash of the files in TRAINING_DATA; it does not depend on held-out pairs."""
    artifacts.read_manifest(folder, KIND)
    return artifacts.folder_hash(folder, TRAINING_DATA)
