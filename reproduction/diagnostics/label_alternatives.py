"""Alternative labels from other pairs of the same positive item, to rank a held-out pair's own label among."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.mining.labels import LabelOptions, draw_label_vectors
from hardneg.random import generator
from hardneg.sampling.mixgcf import MixGCF
from hardneg.types import Embeddings, Floats, Indices, Progress

MAX_ALTERNATIVES = 1000
"""Maximum number of alternatives per held-out pair."""


@dataclass(frozen=True)
class LabelAlternatives:
    """Labels of other pairs with the same positive, for every held-out pair.

    labels: (n, size). indices: rows of `labels`; those of held-out pair j are indices[starts[j]:starts[j + 1]].
    """

    labels: Floats
    indices: Indices
    starts: Indices

    @property
    def counts(self) -> Indices:
        """Number of alternatives per held-out pair."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class DrawnLabels:
    """Labels (n, size) and the pair index (n,) that each label is drawn for."""

    labels: Floats
    pairs: Indices


def draw_alternatives(
    held_out: Indices, positives: Indices, pool: DrawnLabels, *, most: int = MAX_ALTERNATIVES, seed: int = 0
) -> LabelAlternatives:
    """Draw, for every held-out pair, at most `most` labels of *other* pairs with its positive item, without repeats.

    held_out: (n,) pair indices. positives: (pairs,) item of every pair. pool: finite labels to draw from. A pair whose
    positive has no other pair in the pool has no alternative. A predictor that knows only the positive cannot
    distinguish the own label from its alternatives, so its rank is that of chance.
    """
    order = np.argsort(positives[pool.pairs], kind="stable")
    items = positives[pool.pairs][order]
    starts = np.searchsorted(items, positives[held_out])
    ends = np.searchsorted(items, positives[held_out], side="right")
    rng = generator(seed, "rivals of held-out labels")
    drawn = []
    for pair, start, end in zip(held_out.tolist(), starts.tolist(), ends.tolist(), strict=True):
        others = order[start:end][pool.pairs[order[start:end]] != pair]
        drawn.append(np.sort(rng.permutation(others)[:most]))
    indices = np.concatenate([*drawn, np.zeros(0, np.int64)])
    return LabelAlternatives(pool.labels, indices, np.cumsum([0, *map(len, drawn)]))


def draw_more_labels(
    embeddings: Embeddings,
    train: Interactions,
    mixgcf: MixGCF,
    options: LabelOptions,
    held_out: Indices,
    *,
    most: int = MAX_ALTERNATIVES,
    progress: Progress | None = None,
) -> DrawnLabels:
    """Draw further MixGCF labels for the pairs that share a positive with a held-out pair: `most` per positive.

    Most items have fewer than `most` train pairs, so each pair is drawn several times with new candidates and mixing
    weights. Only users who have the item are used: another user's label would be recognisable from the positive.
    embeddings, mixgcf, options: those of the stored labels. `draw_alternatives` leaves out a pair's own draws.
    """
    is_drawn = np.isin(train.items, train.items[held_out]) & (train.item_counts[train.items] > 1)
    rows = np.flatnonzero(is_drawn)
    # Whichever pair of an item is held out, the others alone make up the number.
    repeats = np.ceil(most / (train.item_counts[train.items[rows]] - 1)).astype(np.int64)
    labels = np.empty((int(repeats.sum()), embeddings.final_items.shape[1]), options.precision)
    pairs = np.empty(len(labels), np.int64)
    done, rounds = 0, int(repeats.max(initial=0))
    for number in range(rounds):
        drawn_rows = rows[repeats > number]
        block = slice(done, done := done + len(drawn_rows))
        round_options = options.model_copy(update={"seed": _round_seed(options.seed, number)})
        labels[block] = draw_label_vectors(embeddings, train, mixgcf, round_options, rows=drawn_rows).vectors
        pairs[block] = drawn_rows
        if progress is not None:
            progress("further labels", number + 1, rounds)
    return DrawnLabels(labels, pairs)


def _round_seed(seed: int, number: int) -> int:
    """Return a separate seed for each further draw, different from the seed of the labels."""
    return int(generator(seed, "further labels", number).integers(2**31, 2**62))
