"""Recommendations for people: the best items of a finished run that a user is not known to have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from hardneg.artifacts import is_artifact, read_manifest
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.products import Products
from hardneg.data.split import read_split
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import top_items
from hardneg.evaluation.ranking import BLOCK
from hardneg.pipeline.inference import FinishedRun, read_run, require_split_of
from hardneg.pipeline.training import RUN, SPLIT_NOTE
from hardneg.types import Indices, block_slices

Mask = Literal["known", "train"]
"""Pairs that recommendations leave out.

known: all pairs of the dataset, held-out ones and those that a filter left out included, and other items that are the
same products. train: train pairs alone, as in evaluation.
"""
SHOWN_UNKNOWN = 5
"""Number of unknown users that a message names."""


@dataclass(frozen=True)
class Recommendations:
    """Recommendations of several users.

    table: user_id, rank, item_id, title, score. unknown: ids that the run does not have. masked: number of pairs that
    were masked. other_ids: number of items left out because the user has the product under another id.
    """

    table: pl.DataFrame
    unknown: tuple[str, ...]
    masked: int
    other_ids: int


def recommend(
    run_dir: Path, users: str | Sequence[str], k: int, mask: Mask = "known", split_dir: Path | None = None
) -> pl.DataFrame:
    """Return the table of `make_recommendations`."""
    return make_recommendations(run_dir, [users] if isinstance(users, str) else users, k, mask, split_dir).table


def make_recommendations(
    run_dir: Path, user_ids: Sequence[str], k: int, mask: Mask = "known", split_dir: Path | None = None
) -> Recommendations:
    """Rank, for each user, the k best items that the mask leaves, in the order of the users.

    split_dir: split of the run, for its held-out pairs; None for the one that the run names. With mask train no split is
    read. Raises DataError where the run has none of the users, and ConfigError where the split is missing or another.
    """
    run, distinct = read_run(run_dir), dict.fromkeys(user_ids)
    known = run.vocabulary.users
    unknown = tuple(user for user in distinct if user not in known)
    users = np.array([known[user] for user in distinct if user in known], np.int64)
    if not len(users):
        found = describe_unknown(unknown) if unknown else "user, since none was asked for"
        raise DataError(f"{run_dir} has no {found}; expected one of its {len(known):,} users")
    items, pairs = read_parquet(run_dir / "items.parquet"), run.seen
    if mask == "known":
        split = read_split(_find_split(run_dir, split_dir))
        items, pairs = split.texts, split.known
    pairs = _restrict(pairs, users)
    masked = Products.of(items).add_other_ids(pairs) if mask == "known" else pairs
    return Recommendations(_rank(run, items, users, masked, k), unknown, len(pairs), len(masked) - len(pairs))


def describe_unknown(user_ids: Sequence[str]) -> str:
    """Return a phrase that names unknown users, the first few of many."""
    more = len(user_ids) - SHOWN_UNKNOWN
    names = ", ".join(repr(user) for user in user_ids[:SHOWN_UNKNOWN])
    return f"user {names}" + (f" and {more:,} more" if more > 0 else "")


def _find_split(run_dir: Path, split_dir: Path | None) -> Path:
    """Return the split of a run: the given folder, or else the one that its manifest names."""
    named = read_manifest(run_dir, RUN)["notes"].get(SPLIT_NOTE)
    folder = split_dir or (None if named is None else Path(named))
    remedy = "give the split of the run (--split), or mask train pairs alone (--mask train)"
    if folder is None:
        raise ConfigError(f"{run_dir} does not name its split, whose held-out pairs are to be masked; {remedy}")
    if not is_artifact(folder):
        raise ConfigError(f"found no split in {folder}, whose held-out pairs are to be masked; {remedy}")
    require_split_of(run_dir, folder)
    return folder


def _restrict(pairs: Interactions, users: Indices) -> Interactions:
    """Return the pairs of some users."""
    wanted = np.isin(pairs.users, users)
    return Interactions(pairs.users[wanted], pairs.items[wanted], pairs.n_users, pairs.n_items)


def _rank(run: FinishedRun, items: pl.DataFrame, users: Indices, masked: Interactions, k: int) -> pl.DataFrame:
    score = run.score()
    blocks = []
    for block in block_slices(len(users), BLOCK):
        best = top_items(score, users[block], masked, k)
        scores = np.take_along_axis(score(users[block]).numpy(), np.maximum(best, 0), axis=1)
        rows, places = np.nonzero(best >= 0)
        blocks.append((users[block][rows], places, best[rows, places], scores[rows, places]))
    owners, places, best, scores = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    titles = items[c.TITLE] if c.TITLE in items.columns else pl.repeat("", len(items), eager=True)
    return pl.DataFrame(
        {
            c.USER_ID: pl.Series(run.vocabulary.user_ids, dtype=pl.String).gather(owners),
            "rank": places + 1,
            c.ITEM_ID: items[c.ITEM_ID].gather(best),
            c.TITLE: titles.gather(best),
            "score": scores,
        }
    )
