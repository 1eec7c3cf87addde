"""Noise put into train on purpose: false positives added, true positives hidden, and a record of both.

The record says what nobody may learn; only diagnostics read it (import-linter checks it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.random import Generator
from pydantic import Field

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions, union
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Flags, Floats, Indices

NAME = "noise.parquet"
KIND_OF_NOISE = "noise"
ADDED, HIDDEN = "added", "hidden"
ROUNDS = 100
"""Draws after which a false positive is given up, as where a user has nearly every item."""


class NoiseConfig(Config):
    """How much noise, and of which kind."""

    false_positives: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Pairs added to train, as a share of its pairs."""
    hidden: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of train pairs that is taken out."""
    by: Literal["uniform", "popularity"] = "uniform"
    """How items of false positives are drawn: all alike, or in proportion to their train pairs."""
    seed: int = 0


@dataclass(frozen=True)
class NoiseRecord:
    """added: false positives, none of them a pair of any part before. hidden: true positives that train lacks now."""

    added: Interactions
    hidden: Interactions

    def table(self) -> pl.DataFrame:
        """user, item, noise ("added" or "hidden")."""
        frames = [
            pl.DataFrame({c.USER: pairs.users, c.ITEM: pairs.items}).with_columns(pl.lit(name).alias(KIND_OF_NOISE))
            for name, pairs in ((ADDED, self.added), (HIDDEN, self.hidden))
        ]
        return pl.concat(frames)


@dataclass(frozen=True)
class NoisySplit:
    """A split whose train pairs are disturbed, and by what."""

    split: Split
    noise: NoiseRecord


def add_noise(split: Split, config: NoiseConfig) -> NoisySplit:
    """Hide train pairs and add false ones; validation and test pairs, vocabulary and texts stay as they are.

    Hidden pairs are drawn evenly from train, but no user loses the last one; their reviews go, too. Each false positive
    belongs to the user of a train pair drawn at random, so that every user gets the same share, and is a pair of no
    part: neither train as it was, nor valid, nor test. Parts stay disjoint that way, at a price: a false positive is never
    held out, which train tells a little of. The draws that were made again for it are counted, as is what could not be
    done.
    """
    train = split.train
    hide, kept_back = _hidden(train, round(config.hidden * len(train)), generator(config.seed, "hidden positives"))
    hidden = _some(train, hide)
    wanted = round(config.false_positives * len(train))
    added, in_vain, held_out = _added(split, wanted, config, generator(config.seed, "false positives"))
    row_report = split.row_report + _ledger(split, train.users[kept_back], in_vain, held_out)
    disturbed = union(_some(train, ~hide), added)
    users, items = (split.reviews[name].to_numpy() for name in (c.USER, c.ITEM))
    reviews = split.reviews.filter(pl.Series(~hidden.contains(users, items), dtype=pl.Boolean))
    return NoisySplit(
        replace(split, train=disturbed, reviews=reviews, row_report=row_report), NoiseRecord(added, hidden)
    )


def read_noise(split_folder: Path) -> NoiseRecord:
    """The noise of a split folder. Raises DataError where there is none."""
    artifacts.read_manifest(split_folder, splits.KIND)
    if not (split_folder / NAME).is_file():
        raise DataError(f"{split_folder} holds no {NAME}, expected a split made by `hardneg data noise`")
    n_users, n_items = (len(read_parquet(split_folder / f"{name}.parquet")) for name in ("users", "items"))
    frame = read_parquet(split_folder / NAME)

    def pairs(name: str) -> Interactions:
        users, items = (frame.filter(pl.col(KIND_OF_NOISE) == name)[column].to_numpy() for column in (c.USER, c.ITEM))
        return Interactions.of(users, items, n_users=n_users, n_items=n_items)

    return NoiseRecord(pairs(ADDED), pairs(HIDDEN))


def _hidden(train: Interactions, n: int, rng: Generator) -> tuple[Flags, Indices]:
    """(pairs,) True for what is hidden, and the pair rows that stay because their user would have none left."""
    order = rng.permutation(len(train))
    hide = np.zeros(len(train), bool)
    hide[order[:n]] = True
    left = np.bincount(train.users[~hide], minlength=train.n_users)
    bare = (left == 0) & (train.counts > 0)
    mine = order[bare[train.users[order]]]
    _, firsts = np.unique(train.users[mine], return_index=True)
    hide[mine[firsts]] = False
    return hide, mine[firsts]


def _added(split: Split, n: int, config: NoiseConfig, rng: Generator) -> tuple[Interactions, Indices, Indices]:
    """Fresh pairs, the users of those for whom none was found, and of draws that met a held-out pair."""
    train = split.train
    users = train.users[rng.integers(len(train), size=n)] if n else np.empty(0, np.int64)
    weights = train.item_counts if config.by == "popularity" else np.ones(train.n_items)
    held_out = union(split.valid, split.test)
    return _fresh(union(train, held_out), held_out, users, weights / max(weights.sum(), 1), rng)


def _fresh(
    known: Interactions, held_out: Interactions, users: Indices, weights: Floats, rng: Generator
) -> tuple[Interactions, Indices, Indices]:
    taken, avoided = known, [np.empty(0, np.int64)]
    for _ in range(ROUNDS):
        if not len(users):
            break
        items = rng.choice(known.n_items, size=len(users), p=weights)
        new = ~taken.contains(users, items)
        avoided.append(users[held_out.contains(users, items)])
        _, firsts = np.unique(users * known.n_items + items, return_index=True)
        accepted = np.zeros(len(users), bool)
        accepted[firsts] = new[firsts]
        of = {"n_users": known.n_users, "n_items": known.n_items}
        taken = union(taken, Interactions.of(users[accepted], items[accepted], **of))
        users = users[~accepted]
    return _some(taken, ~known.contains(taken.users, taken.items)), users, np.concatenate(avoided)


def _some(pairs: Interactions, which: Flags) -> Interactions:
    return Interactions(pairs.users[which], pairs.items[which], pairs.n_users, pairs.n_items)


def _ledger(split: Split, kept_back: Indices, in_vain: Indices, held_out: Indices) -> RowReport:
    """kept_back, in_vain, held_out: users, one a pair that was not hidden, or not added, or drawn in vain."""
    found = (
        (kept_back, "that would have left their user none in train", "they were not hidden"),
        (in_vain, "for which no fresh item was found", "they were not added"),
        (held_out, "drawn as false positives, which are held out", "others were drawn in their place"),
    )
    ids = split.vocabulary.user_ids
    return tuple(
        RowIssue("noise", reason, len(users), f"user {ids[users[0]]}", remedy)
        for users, reason, remedy in found
        if len(users)
    )
