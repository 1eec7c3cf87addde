"""Recommendations for people: the best items of a finished run that a user is not known to have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from hardneg.artifacts import kind_at
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.products import Products
from hardneg.data.split import read_split
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import top_items
from hardneg.evaluation.ranking import BLOCK, InnerProduct
from hardneg.pipeline.inference import BUNDLE, FinishedRun, find_run_split, read_run
from hardneg.types import Indices, block_slices

Mask = Literal["known", "train"]
"""Pairs that recommendations leave out.

known: all pairs of the dataset, held-out ones and those that a filter left out included, and other items that are the
same products. train: train pairs alone, as in evaluation.
"""
REMEDY = "its held-out pairs are to be masked, so give its folder (--split), or mask train pairs alone (--mask train)"
"""What to do where the split of a run is not found."""
SHOWN_UNKNOWN = 5
"""Number of unknown users that a message names."""
SCHEMA = {
    c.USER_ID: pl.String,
    "rank": pl.Int64,
    c.ITEM_ID: pl.String,
    c.TITLE: pl.String,
    "score": pl.Float32,
}


@dataclass(frozen=True)
class Recommendations:
    """Recommendations of several users.

    table: columns of SCHEMA. unknown: ids that the run does not have. masked: number of pairs that were masked.
    other_ids: number of items left out because the user has the product under another id. short: number of users with
    fewer items than asked for.
    """

    table: pl.DataFrame
    masked: int
    other_ids: int
    short: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommender:
    """A run, its items with their titles, and the pairs that recommendations leave out.

    products: those of the items, where other ids of what a user has are left out as well.
    """

    run: FinishedRun
    items: pl.DataFrame
    pairs: Interactions
    products: Products | None = None

    @cached_property
    def _score(self) -> InnerProduct:
        return self.run.score()

    @cached_property
    def _user_ids(self) -> pl.Series:
        return pl.Series(self.run.vocabulary.user_ids, dtype=pl.String)

    @cached_property
    def _titles(self) -> pl.Series:
        return self.items[c.TITLE] if c.TITLE in self.items.columns else pl.repeat("", len(self.items), eager=True)

    def find_users(self, user_ids: Sequence[str], source: Path) -> tuple[Indices, tuple[str, ...]]:
        """Return the users of distinct ids, in their order, and the ids that are unknown.

        Raises DataError where no user is known. source: the folder that the message names.
        """
        known, distinct = self.run.vocabulary.users, dict.fromkeys(user_ids)
        users = np.array([known[user] for user in distinct if user in known], np.int64)
        unknown = tuple(user for user in distinct if user not in known)
        if not len(users):
            found = describe_unknown(unknown) if unknown else "user, since none was asked for"
            raise DataError(f"{source} has no {found}; expected one of its {len(known):,} users")
        return users, unknown

    def rank(self, users: Indices, k: int) -> Recommendations:
        """Rank, for each user, the k best items that are not left out, in the order of the users."""
        places = self.pairs.places_of(np.unique(users))[1]
        pairs = Interactions(self.pairs.users[places], self.pairs.items[places], self.pairs.n_users, self.pairs.n_items)
        masked = self.products.add_other_ids(pairs) if self.products is not None else pairs
        tables = [self._rank_block(users[block], masked, k) for block in block_slices(len(users), BLOCK)]
        table = pl.concat(tables)
        short = len(users) - len(table.filter(rank=k))
        return Recommendations(table, len(pairs), len(masked) - len(pairs), short)

    def rank_blocks(self, users: Indices, k: int, size: int) -> Iterator[Recommendations]:
        """Yield the recommendations of `size` users at a time."""
        return (self.rank(users[block], k) for block in block_slices(len(users), size))

    def _rank_block(self, users: Indices, masked: Interactions, k: int) -> pl.DataFrame:
        scores = self._score(users)
        best = top_items(lambda _: scores, users, masked, k)
        rows, places = np.nonzero(best >= 0)
        items = best[rows, places]
        columns = {
            c.USER_ID: self._user_ids.gather(users[rows]),
            "rank": places + 1,
            c.ITEM_ID: self.items[c.ITEM_ID].gather(items),
            c.TITLE: self._titles.gather(items),
            "score": scores.numpy()[rows, items],
        }
        return pl.DataFrame(columns, schema=SCHEMA)


def open_recommender(run_dir: Path, mask: Mask = "known", split_dir: Path | None = None) -> Recommender:
    """Read a run, or a bundle, and the pairs that the mask leaves out.

    split_dir: split of the run, for its held-out pairs; None for the one that the run names. With mask train, and for a
    bundle, no split is read. Raises ConfigError where the split is missing or another, and for a bundle with mask train.
    """
    if kind_at(run_dir) == BUNDLE:
        return _open_bundle(run_dir, mask)
    run = read_run(run_dir)
    items, pairs = read_parquet(run_dir / "items.parquet"), run.seen
    if mask == "train":
        return Recommender(run, items, pairs)
    split = read_split(find_run_split(run_dir, split_dir, remedy=REMEDY))
    items, pairs = split.texts, split.known
    return Recommender(run, items, pairs, Products.of(items))


def _open_bundle(folder: Path, mask: Mask) -> Recommender:
    if mask == "train":
        raise ConfigError(f"found mask train for the bundle {folder}, which has all known pairs in one; use mask known")
    run, items = read_run(folder, BUNDLE), read_parquet(folder / "items.parquet")
    return Recommender(run, items, run.seen, Products.of(items))


def recommend(
    run_dir: Path, users: str | Sequence[str], k: int, mask: Mask = "known", split_dir: Path | None = None
) -> pl.DataFrame:
    """Return the table of `make_recommendations`."""
    return make_recommendations(run_dir, [users] if isinstance(users, str) else users, k, mask, split_dir).table


def make_recommendations(
    run_dir: Path, user_ids: Sequence[str], k: int, mask: Mask = "known", split_dir: Path | None = None
) -> Recommendations:
    """Rank, for each user, the k best items that the mask leaves, in the order of the users.

    split_dir: as in `open_recommender`. Raises DataError where the run has none of the users, and ConfigError where the
    split is missing or another.
    """
    recommender = open_recommender(run_dir, mask, split_dir)
    users, unknown = recommender.find_users(user_ids, run_dir)
    return replace(recommender.rank(users, k), unknown=unknown)


def describe_unknown(user_ids: Sequence[str]) -> str:
    """Return a phrase that names unknown users, the first few of many."""
    more = len(user_ids) - SHOWN_UNKNOWN
    names = ", ".join(repr(user) for user in user_ids[:SHOWN_UNKNOWN])
    return f"user {names}" + (f" and {more:,} more" if more > 0 else "")
