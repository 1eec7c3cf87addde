"""Labels of other pairs of the same positive item: what a held-out pair's own label is ranked among. Feeds nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.mining.labels import LabelOptions, draw_labels
from hardneg.random import generator
from hardneg.sampling.mixgcf import MixGCF
from hardneg.types import Embeddings, Floats, Indices, Progress

MOST = 1000
"""Labels that an own label is ranked among, where there are so many."""


@dataclass(frozen=True)
class LabelAlternatives:
    """Labels of other pairs of the same positive, for every held-out pair.

    labels: (n, size). which: rows of `labels`; those of held-out pair j are which[starts[j]:starts[j + 1]].
    """

    labels: Floats
    which: Indices
    starts: Indices

    @property
    def counts(self) -> Indices:
        """(held-out pairs,) labels that each own label is ranked among."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class DrawnLabels:
    """Labels, and the pair row that each is a draw for. labels: (n, size). pairs: (n,)."""

    labels: Floats
    pairs: Indices


def label_alternatives(
    held: Indices, positives: Indices, pool: DrawnLabels, *, most: int = MOST, seed: int = 0
) -> LabelAlternatives:
    """For every held-out pair at most `most` labels of *other* pairs with its positive item, drawn without repeats.

    held: (n,) pair rows. positives: (pairs,) item of every pair row. pool: labels to draw from, finite ones. A pair
    whose positive has no other pair in the pool has none. Whoever knows the positive alone cannot tell the own label
    from these, so its rank is that of chance.
    """
    order = np.argsort(positives[pool.pairs], kind="stable")
    items = positives[pool.pairs][order]
    firsts, ends = np.searchsorted(items, positives[held]), np.searchsorted(items, positives[held], side="right")
    rng = generator(seed, "rivals of held-out labels")
    chosen = []
    for row, first, end in zip(held.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        others = order[first:end][pool.pairs[order[first:end]] != row]
        chosen.append(np.sort(rng.permutation(others)[:most]))
    starts = np.cumsum([0, *map(len, chosen)])
    return LabelAlternatives(pool.labels, np.concatenate([*chosen, np.zeros(0, np.int64)]), starts)


def draw_more_labels(
    embeddings: Embeddings,
    train: Interactions,
    mixgcf: MixGCF,
    options: LabelOptions,
    held: Indices,
    *,
    most: int = MOST,
    progress: Progress | None = None,
) -> DrawnLabels:
    """Fresh draws of MixGCF for the pairs that share a positive with a held-out pair: `most` for every such positive.

    Items have few train pairs, and 1,000 labels of other pairs of an item mostly do not exist. MixGCF's labels are
    draws, so further ones are made: every other pair of the item is asked as often as it takes, each time with new
    candidates and shares. The users stay those that chose the item: a user who did not would have other labels, which
    the positive alone would tell from the own one. embeddings, mixgcf, options: those the labels came from. A pair's
    own draws are among them and are left out by `label_alternatives`.
    """
    is_asked = np.isin(train.items, train.items[held]) & (train.item_counts[train.items] > 1)
    rows = np.flatnonzero(is_asked)
    # Whichever pair of an item is held out, the others alone make up the number.
    times = np.ceil(most / (train.item_counts[train.items[rows]] - 1)).astype(np.int64)
    labels = np.empty((int(times.sum()), embeddings.final_items.shape[1]), options.precision)
    pairs = np.empty(len(labels), np.int64)
    done, rounds = 0, int(times.max(initial=0))
    for number in range(rounds):
        asked = rows[times > number]
        here = slice(done, done := done + len(asked))
        again = options.model_copy(update={"seed": _seed_of(options.seed, number)})
        labels[here] = draw_labels(embeddings, train, mixgcf, again, rows=asked).vectors
        pairs[here] = asked
        if progress is not None:
            progress("further labels", number + 1, rounds)
    return DrawnLabels(labels, pairs)


def _seed_of(seed: int, number: int) -> int:
    """A seed of its own for each further draw, none of them that of the labels."""
    return int(generator(seed, "further labels", number).integers(2**31, 2**62))
