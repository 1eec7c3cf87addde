"""Several sets of data as one, for one model to be tuned on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.finetuning.inputs import EmbeddingSpace, PairInputs
from hardneg.random import generator
from hardneg.types import Floats, Indices

Labelled = tuple[PairInputs, Floats]
"""What a model is shown of a set's pairs, and its labels (pairs, size)."""


def rescaled(inputs: PairInputs, labels: Floats) -> Labelled:
    """Every table in units of its own: e_u by the users' root mean square, e_v and labels by the items'.

    How long embeddings are depends on a set's size and on its training, and says nothing from one set to another; the
    lifts would take it for a message. Labels are mixed of items and keep their length beside them. Float32.
    """
    users, items = (_one_over_rms(table) for table in (inputs.users, inputs.items))
    shown = replace(
        inputs,
        users=(inputs.users * users).astype(np.float32),
        items=(inputs.items * items).astype(np.float32),
    )
    return shown, np.asarray(labels, np.float32) * np.float32(items)


def pool_sets(sets: Sequence[Labelled]) -> Labelled:
    """One set whose users, items and pair rows are those of all sets, one set behind the other.

    Users and items get new numbers by offsets; nothing else changes, and a pool of one set is that set. Unless `tune` is
    told the `membership`, its in-batch negatives come from all sets.
    Raises DataError where embeddings or labels have different sizes.
    """
    sizes = {(inputs.users.shape[1], inputs.items.shape[1], labels.shape[1]) for inputs, labels in sets}
    if len(sizes) != 1:
        raise DataError(f"found embeddings and labels of sizes {sorted(sizes)}, expected one; train all with one size")
    users, items = ([0, *accumulate(counts)] for counts in zip(*map(_counts, sets), strict=True))
    pairs = Interactions(
        np.concatenate([shown.pairs.users + first for (shown, _), first in zip(sets, users, strict=False)]),
        np.concatenate([shown.pairs.items + first for (shown, _), first in zip(sets, items, strict=False)]),
        users[-1],
        items[-1],
    )
    shown = PairInputs(
        pairs,
        [text for inputs, _ in sets for text in inputs.user_profiles],
        [text for inputs, _ in sets for text in inputs.item_profiles],
        np.concatenate([inputs.users for inputs, _ in sets]),
        np.concatenate([inputs.items for inputs, _ in sets]),
    )
    return shown, np.concatenate([labels for _, labels in sets])


def draw_pairs(n_pairs: int, *, seed: int = 0) -> Indices:
    """(n_pairs,) pair rows in an order of chance. Who tunes takes some from its front, who judges from its back."""
    return generator(seed, "pairs of a set").permutation(n_pairs)


def thin_pairs(labelled: Labelled, rows: Indices) -> Labelled:
    """Some pairs of a set, by pair row in any order; users and items keep their numbers."""
    (inputs, labels), kept = labelled, np.sort(rows)
    pairs = inputs.pairs
    some = Interactions(pairs.users[kept], pairs.items[kept], pairs.n_users, pairs.n_items)
    return replace(inputs, pairs=some), labels[kept]


def membership(sets: Sequence[Labelled]) -> Indices:
    """(pairs,) the number of the set that each pair row of the pool comes from."""
    return np.repeat(np.arange(len(sets)), [len(inputs.pairs) for inputs, _ in sets])


def _counts(labelled: Labelled) -> tuple[int, int]:
    pairs = labelled[0].pairs
    return pairs.n_users, pairs.n_items


def _one_over_rms(table: Floats) -> float:
    return 1 / (EmbeddingSpace.of(table).rms or 1.0)
