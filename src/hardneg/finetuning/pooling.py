"""Pools of data sets, to tune one model on all of them."""

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

LabelledPairs = tuple[PairInputs, Floats]
"""Inputs of a data set's pairs, and their labels (pairs, size)."""


def rescale_inputs(inputs: PairInputs, labels: Floats) -> LabelledPairs:
    """Divide e_u by the root mean square of the users' table, e_v and labels by that of the items'.

    The scale of embeddings depends on a data set's size and training, so it means nothing across data sets. Labels are
    mixtures of items and keep their norm relative to items. Float32.
    """
    users, items = (1 / (EmbeddingSpace.of(table).rms or 1.0) for table in (inputs.users, inputs.items))
    unit_inputs = replace(
        inputs,
        users=(inputs.users * users).astype(np.float32),
        items=(inputs.items * items).astype(np.float32),
    )
    return unit_inputs, np.asarray(labels, np.float32) * np.float32(items)


def pool_sets(sets: Sequence[LabelledPairs]) -> LabelledPairs:
    """Concatenate the users, items and pairs of data sets.

    Users and items are renumbered by offsets; a pool of one set is that set. In-batch negatives come from all sets,
    unless `tune` gets the `set_numbers`. Raises DataError if embeddings or labels have different sizes.
    """
    sizes = {(inputs.users.shape[1], inputs.items.shape[1], labels.shape[1]) for inputs, labels in sets}
    if len(sizes) != 1:
        raise DataError(f"found embeddings and labels of sizes {sorted(sizes)}, expected one; train all with one size")
    all_inputs = [inputs for inputs, _ in sets]
    users = [0, *accumulate(inputs.pairs.n_users for inputs in all_inputs)]
    items = [0, *accumulate(inputs.pairs.n_items for inputs in all_inputs)]
    pairs = Interactions(
        np.concatenate([inputs.pairs.users + first for inputs, first in zip(all_inputs, users, strict=False)]),
        np.concatenate([inputs.pairs.items + first for inputs, first in zip(all_inputs, items, strict=False)]),
        users[-1],
        items[-1],
    )
    pooled = PairInputs(
        pairs,
        [text for inputs in all_inputs for text in inputs.user_profiles],
        [text for inputs in all_inputs for text in inputs.item_profiles],
        np.concatenate([inputs.users for inputs in all_inputs]),
        np.concatenate([inputs.items for inputs in all_inputs]),
    )
    return pooled, np.concatenate([labels for _, labels in sets])


def draw_pairs(n_pairs: int, *, seed: int = 0) -> Indices:
    """Return (n_pairs,) pair indices in random order. Tuning uses its front, evaluation its back."""
    return generator(seed, "pairs of a set").permutation(n_pairs)


def select_pairs(labelled: LabelledPairs, rows: Indices) -> LabelledPairs:
    """Select pairs by pair index, in any order; users and items keep their numbers."""
    (inputs, labels), rows = labelled, np.sort(rows)
    pairs = inputs.pairs
    selected = Interactions(pairs.users[rows], pairs.items[rows], pairs.n_users, pairs.n_items)
    return replace(inputs, pairs=selected), labels[rows]


def set_numbers(sets: Sequence[LabelledPairs]) -> Indices:
    """Return (pairs,) the number of the data set of every pair in the pool."""
    return np.repeat(np.arange(len(sets)), [len(inputs.pairs) for inputs, _ in sets])
