"""Quality of a judge on hidden train items: does it find them more likely to be liked than other unobserved items?

Each user has one train item that was hidden from the judge, random unobserved items, and unobserved items drawn by
popularity. The measures compare the hidden items with one of the two other kinds. Some of those are liked as well, so no
judge reaches an AUC of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field, PositiveInt

from hardneg.config import Config, Seed
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.judging.suspects import THRESHOLD, UserCandidates
from hardneg.random import Stream
from hardneg.types import Flags, Floats, Indices, block_slices

ORIGINS = ("hidden", "random", "popular")
"""Kinds of candidates; their numbers are places in this tuple."""
HIDDEN, RANDOM, POPULAR = range(3)
N_BINS = 10
BLOCK = 1024
"""Users for whom all items are ranked at once."""
PerUser = Annotated[int, Field(ge=0, le=1000)]


class HiddenItemsConfig(Config):
    """Users and candidates of an evaluation."""

    users: PositiveInt = 1000
    """Maximum number of users, drawn from those with a hidden train pair."""
    random: PerUser = 5
    """Random unobserved items of each user."""
    popular: PerUser = 5
    """Unobserved items of each user, drawn in proportion to their train pairs."""
    seed: Seed = 0
    """Seed of users, items and their order."""


@dataclass(frozen=True)
class HiddenItemCandidates:
    """Candidates of an evaluation, in random order.

    candidates: one hidden item and the drawn ones for each user. origins: (n, k) places in ORIGINS, -1 for padding.
    """

    candidates: UserCandidates
    origins: Indices

    def __len__(self) -> int:
        return int(self.candidates.present.sum())


def draw_candidates(split: Split, hidden: Interactions, config: HiddenItemsConfig) -> HiddenItemCandidates:
    """Draw users and their candidates. hidden: pairs removed from train, one of which is judged for each user.

    Drawn items are distinct and neither in train, under any id, nor hidden; they may be held-out items, as those of a
    sampler may be. Draws of a user do not depend on other users, so an evaluation of more users contains one of fewer.
    Raises DataError where no user has a hidden pair.
    """
    users = np.flatnonzero((hidden.counts > 0) & (split.train.counts > 0))
    if not len(users):
        raise DataError(
            "found no user with a hidden train pair, expected one at least; hide some with hardneg data add-noise"
        )
    chosen, which = _uniform(config, "judged users", users, 2).T
    selected = np.sort(np.argsort(chosen)[: config.users])
    users, which = users[selected], which[selected]
    places = hidden.starts[users] + (which * hidden.counts[users]).astype(np.int64)
    blocks = [_draw_items(split, users[block], hidden, config) for block in block_slices(len(users), BLOCK)]
    items = np.concatenate([hidden.items[places][:, None], np.concatenate(blocks)], axis=1)
    origins = np.repeat([HIDDEN, RANDOM, POPULAR], [1, config.random, config.popular])
    origins = np.where(items >= 0, origins, -1)
    order = np.argsort(_uniform(config, "order of judged items", users, items.shape[1]), axis=1)
    items, origins = (np.take_along_axis(table, order, axis=1) for table in (items, origins))
    return HiddenItemCandidates(UserCandidates(users, items), origins)


def _draw_items(split: Split, users: Indices, hidden: Interactions, config: HiddenItemsConfig) -> Indices:
    """Return random items, then items drawn by popularity, (len(users), random + popular), -1 where none is left."""
    free = union(split.owned, hidden).matrix()[users].toarray() == 0
    drawn = _take_largest(_uniform(config, "judged random items", users, free.shape[1]), free, config.random)
    rows, columns = np.nonzero(drawn >= 0)
    free[rows, drawn[rows, columns]] = False
    counts = split.train.item_counts
    gumbel = -np.log(-np.log(_uniform(config, "judged popular items", users, free.shape[1])))
    keys = np.log(np.maximum(counts, 1)) + gumbel  # the largest keys are draws without replacement, by counts
    return np.concatenate([drawn, _take_largest(keys, free & (counts > 0), config.popular)], axis=1)


def _uniform(config: HiddenItemsConfig, purpose: str, users: Indices, n: int) -> Floats:
    """Return numbers in (0, 1), (len(users), n); a row depends on the seed, the purpose and the user."""
    tiny = np.finfo(np.float64).tiny
    return np.clip(Stream(config.seed, purpose, 0).uniform(users, n).astype(np.float64), tiny, 1 - 1e-16)


def _take_largest(keys: Floats, allowed: Flags, n: int) -> Indices:
    """Return the n allowed columns with the largest keys in each row, -1 where there are fewer."""
    keys = np.where(allowed, keys, -np.inf)
    columns = np.argsort(-keys, axis=1, kind="stable")[:, :n]
    return np.where(np.take_along_axis(keys, columns, axis=1) > -np.inf, columns, -1)


def share_ranked_right(scores: Floats, origins: Indices, against: int) -> Floats:
    """Return for each user the share of candidates of one kind with a lower score than the hidden item, (n,).

    Equal scores count one half: the mean over users is the AUC within users. NaN where the hidden item or all others
    have no score. scores: (n, k), NaN for none.
    """
    own = scores[origins == HIDDEN][:, None]
    compared = (origins == against) & ~np.isnan(scores) & ~np.isnan(own)
    wins = ((scores < own) + 0.5 * (scores == own)) * compared
    counts = compared.sum(axis=1)
    return np.where(counts > 0, wins.sum(axis=1) / np.maximum(counts, 1), np.nan)


def rank_measures(scores: Floats, origins: Indices, against: int) -> dict[str, float | None]:
    """Return the AUC within users, its standard error over users, and the AUC over all users together."""
    from sklearn.metrics import roc_auc_score

    shares = share_ranked_right(scores, origins, against)
    shares = shares[~np.isnan(shares)]
    pooled, is_hidden = _compared(scores, origins, against)
    both = 0 < is_hidden.sum() < len(is_hidden)
    return {
        "auc": float(shares.mean()) if len(shares) else None,
        "auc_se": float(shares.std(ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else None,
        "auc_pooled": float(roc_auc_score(is_hidden, pooled)) if both else None,
    }


def label_measures(probabilities: Floats, origins: Indices, against: int) -> dict[str, float | None]:
    """Return measures of labels and of probabilities, with equal total weight of hidden items and of the others.

    yes_hidden, yes_others: shares with a probability of at least 0.5. kappa: Cohen's kappa of these labels. brier: mean
    squared error of the probabilities. ece: mean distance of the probabilities from the share of hidden items in
    `reliability_bins`.
    """
    p, is_hidden = _compared(probabilities, origins, against)
    if not 0 < is_hidden.sum() < len(is_hidden):
        return dict.fromkeys(("yes_hidden", "yes_others", "kappa", "brier", "ece"))
    yes_hidden, yes_others = (float((p[which] >= THRESHOLD).mean()) for which in (is_hidden, ~is_hidden))
    bins = reliability_bins(probabilities, origins, against)
    weights = bins["weight"].to_numpy()
    gaps = np.abs(bins["probability"].to_numpy() - bins["hidden"].to_numpy())
    return {
        "yes_hidden": yes_hidden,
        "yes_others": yes_others,
        "kappa": yes_hidden - yes_others,  # chance agreement is one half, since both kinds have the same weight
        "brier": float(_weights(is_hidden) @ (p - is_hidden) ** 2),
        "ece": float(weights @ gaps),
    }


def reliability_bins(probabilities: Floats, origins: Indices, against: int, n_bins: int = N_BINS) -> pl.DataFrame:
    """Return bins of equal width that hold candidates: lower end, weight, mean probability and share of hidden items.

    Hidden items and the others have the same total weight; the weights of the bins sum to 1.
    """
    p, is_hidden = _compared(probabilities, origins, against)
    weights, places = _weights(is_hidden), np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    total, means, shares = (
        np.bincount(places, values, n_bins) for values in (weights, weights * p, weights * is_hidden)
    )
    used = total > 0
    columns = {"from": np.arange(n_bins) / n_bins, "weight": total, "probability": means, "hidden": shares}
    frame = pl.DataFrame({name: column[used] for name, column in columns.items()})
    return frame.with_columns(pl.col("probability", "hidden") / pl.col("weight"))


def truth_measures(probabilities: Floats, likes: Floats, origins: Indices) -> dict[str, float | None]:
    """Compare the probabilities of random items with the like-probabilities of a simulated store, both (n, k).

    spearman: rank correlation, None where all probabilities are equal. squared_error: mean squared difference. like_yes,
    like_all: mean like-probability of the items with a probability of at least 0.5, None without any, and of all.
    """
    from scipy.stats import spearmanr

    chosen = (origins == RANDOM) & ~np.isnan(probabilities)
    p, like = probabilities[chosen], likes[chosen]
    if not len(p):
        return dict.fromkeys(("spearman", "squared_error", "like_yes", "like_all"))
    yes = p >= THRESHOLD
    varies = np.ptp(p) > 0 and np.ptp(like) > 0
    return {
        "spearman": float(spearmanr(p, like).statistic) if varies else None,
        "squared_error": float(np.mean((p - like) ** 2)),
        "like_yes": float(like[yes].mean()) if yes.any() else None,
        "like_all": float(like.mean()),
    }


def _compared(values: Floats, origins: Indices, against: int) -> tuple[Floats, Flags]:
    """Return the values of hidden items and of one other kind, without NaN, and which are hidden."""
    chosen = np.isin(origins, (HIDDEN, against)) & ~np.isnan(values)
    return values[chosen], origins[chosen] == HIDDEN


def _weights(is_hidden: Flags) -> Floats:
    """Return weights that sum to one half for hidden items, and for the others."""
    n_hidden = max(int(is_hidden.sum()), 1)
    return np.where(is_hidden, 0.5 / n_hidden, 0.5 / max(len(is_hidden) - n_hidden, 1))
