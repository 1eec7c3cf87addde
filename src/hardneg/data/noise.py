"""Label noise added to train on purpose: false positives added, true positives hidden, and a record of both.

Only diagnostics may read the record (import-linter checks it).
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
from hardneg.config import Config, Seed
from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions, union
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Flags, Indices

NOISE_FILE = "noise.parquet"
NOISE_COLUMN = "noise"
ADDED, HIDDEN = "added", "hidden"
MAX_ROUNDS = 100
"""Maximum number of draws per false positive; a user with nearly every item may need more."""


class NoiseConfig(Config):
    """Amount and kind of noise."""

    false_positives: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Pairs added to train, as a share of its pairs."""
    hidden: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of train pairs that is removed."""
    by: Literal["uniform", "popularity"] = "uniform"
    """Distribution of the items of false positives: uniform, or proportional to their train pairs."""
    seed: Seed = 0


@dataclass(frozen=True)
class NoiseRecord:
    """added: false positives, in no part of the original split. hidden: true positives removed from train."""

    added: Interactions
    hidden: Interactions

    def table(self) -> pl.DataFrame:
        """Return columns user, item and noise ("added" or "hidden")."""
        frames = [
            pl.DataFrame({c.USER: pairs.users, c.ITEM: pairs.items}).with_columns(pl.lit(name).alias(NOISE_COLUMN))
            for name, pairs in ((ADDED, self.added), (HIDDEN, self.hidden))
        ]
        return pl.concat(frames)


def make_noisy_split(split: Split, config: NoiseConfig) -> tuple[Split, NoiseRecord]:
    """Hide train pairs and add false ones; held-out pairs, vocabulary and texts stay the same.

    Hidden pairs are drawn uniformly from train, except that every user keeps one pair; their reviews are removed too.
    The user of each false positive is that of a random train pair, so all users get the same share. False positives
    are in none of the original parts, which keeps the parts disjoint. The row report counts the draws rejected for
    being held out, since train reveals a little about held-out pairs through them, and the changes that failed.
    """
    train = split.train
    hide, retained = _draw_hidden(train, round(config.hidden * len(train)), generator(config.seed, "hidden positives"))
    hidden = _select(train, hide)
    n_added = round(config.false_positives * len(train))
    added, failed, held_out = _draw_added(split, n_added, config, generator(config.seed, "false positives"))
    row_report = split.row_report + _report(split, train.users[retained], failed, held_out)
    users, items = (split.reviews[name].to_numpy() for name in (c.USER, c.ITEM))
    reviews = split.reviews.filter(pl.Series(~hidden.contains(users, items), dtype=pl.Boolean))
    noisy = replace(split, train=union(_select(train, ~hide), added), reviews=reviews, row_report=row_report)
    return noisy, NoiseRecord(added, hidden)


def read_noise(split_folder: Path) -> NoiseRecord:
    """Read the noise record of a split folder. Raises DataError if there is none."""
    artifacts.read_manifest(split_folder, splits.KIND)
    if not (split_folder / NOISE_FILE).is_file():
        raise DataError(f"{split_folder} holds no {NOISE_FILE}, expected a split made by `hardneg data add-noise`")
    n_users, n_items = (len(read_parquet(split_folder / f"{name}.parquet")) for name in ("users", "items"))
    frame = read_parquet(split_folder / NOISE_FILE)

    def pairs(name: str) -> Interactions:
        users, items = (frame.filter(pl.col(NOISE_COLUMN) == name)[column].to_numpy() for column in (c.USER, c.ITEM))
        return Interactions.of(users, items, n_users=n_users, n_items=n_items)

    return NoiseRecord(pairs(ADDED), pairs(HIDDEN))


def _draw_hidden(train: Interactions, n: int, rng: Generator) -> tuple[Flags, Indices]:
    """Return flags (pairs,) of the hidden pairs, and the drawn pairs retained as the only one of their user."""
    order = rng.permutation(len(train))
    hide = np.zeros(len(train), bool)
    hide[order[:n]] = True
    remaining = np.bincount(train.users[~hide], minlength=train.n_users)
    without_pairs = (remaining == 0) & (train.counts > 0)
    theirs = order[without_pairs[train.users[order]]]
    _, firsts = np.unique(train.users[theirs], return_index=True)
    hide[theirs[firsts]] = False
    return hide, theirs[firsts]


def _draw_added(split: Split, n: int, config: NoiseConfig, rng: Generator) -> tuple[Interactions, Indices, Indices]:
    """Return the added pairs, the users of failed draws, and the users of draws rejected as held out."""
    train, held_out = split.train, union(split.valid, split.test)
    users = train.users[rng.integers(len(train), size=n)] if n else np.empty(0, np.int64)
    weights = train.item_counts if config.by == "popularity" else np.ones(train.n_items)
    weights = weights / max(weights.sum(), 1)
    known = union(train, held_out)
    taken, rejected = known, [np.empty(0, np.int64)]
    for _ in range(MAX_ROUNDS):
        if not len(users):
            break
        items = rng.choice(known.n_items, size=len(users), p=weights)
        is_new = ~taken.contains(users, items)
        rejected.append(users[held_out.contains(users, items)])
        _, firsts = np.unique(users * known.n_items + items, return_index=True)
        accepted = np.zeros(len(users), bool)
        accepted[firsts] = is_new[firsts]
        drawn = Interactions.of(users[accepted], items[accepted], n_users=known.n_users, n_items=known.n_items)
        taken, users = union(taken, drawn), users[~accepted]
    return _select(taken, ~known.contains(taken.users, taken.items)), users, np.concatenate(rejected)


def _select(pairs: Interactions, flags: Flags) -> Interactions:
    return Interactions(pairs.users[flags], pairs.items[flags], pairs.n_users, pairs.n_items)


def _report(split: Split, retained: Indices, failed: Indices, held_out: Indices) -> RowReport:
    """Report changes that were not made. Each argument has one user per pair."""
    causes = (
        (retained, "that are the only train pair of their user", "they were not hidden"),
        (failed, "for which no new item was found", "they were not added"),
        (held_out, "drawn as false positives although held out", "others were drawn in their place"),
    )
    ids = split.vocabulary.user_ids
    return tuple(
        RowIssue("noise", reason, len(users), f"user {ids[users[0]]}", remedy)
        for users, reason, remedy in causes
        if len(users)
    )
