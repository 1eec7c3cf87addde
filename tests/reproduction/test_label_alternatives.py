"""Alternative labels: of the same positive, of other pairs, up to the maximum number."""

from __future__ import annotations

import numpy as np
import torch
from diagnostics.label_alternatives import DrawnLabels, draw_alternatives, draw_more_labels

from hardneg.data import Interactions
from hardneg.mining import LabelOptions, labels
from hardneg.models import MFModel
from hardneg.sampling import MixGCF
from hardneg.types import Embeddings

OPTIONS = LabelOptions(seed=4, precision="float32")
MIXGCF = MixGCF(candidates=5)


def tables(seen: Interactions) -> Embeddings:
    with torch.no_grad():
        made: Embeddings = MFModel(seen, embedding_size=8, seed=1)()
    return made


def test_alternatives_are_labels_of_other_pairs_of_the_same_positive(rng: np.random.Generator) -> None:
    positives = rng.integers(8, size=60)
    positives[7] = 99  # an item with this pair alone
    pool = DrawnLabels(rng.normal(size=(180, 2)), np.tile(np.arange(60), 3))
    held_out = np.array([3, 7, 20, 41])
    found = draw_alternatives(held_out, positives, pool, most=12)
    for place, row in enumerate(held_out):
        mine = found.indices[found.starts[place] : found.starts[place + 1]]
        allowed = {n for n in range(180) if positives[pool.pairs[n]] == positives[row] and pool.pairs[n] != row}
        assert set(mine.tolist()) <= allowed
        assert len(set(mine.tolist())) == len(mine) == min(len(allowed), 12)
    assert found.counts[1] == 0
    assert found.counts.max() == 12


def test_every_held_out_pair_with_another_of_its_item_gets_enough_labels(seen: Interactions) -> None:
    held_out = np.arange(0, len(seen), 3)
    pool = draw_more_labels(tables(seen), seen, MIXGCF, OPTIONS, held_out, most=40)
    assert set(seen.items[pool.pairs].tolist()) <= set(seen.items[held_out].tolist())
    found = draw_alternatives(held_out, seen.items, pool, most=40)
    expected = np.where(seen.item_counts[seen.items[held_out]] > 1, 40, 0)
    assert found.counts.tolist() == expected.tolist()
    assert expected.any()


def test_further_labels_are_new_mixgcf_draws(seen: Interactions) -> None:
    embeddings = tables(seen)
    pool = draw_more_labels(embeddings, seen, MIXGCF, OPTIONS, np.arange(len(seen)), most=6)
    stored = labels.draw_label_vectors(embeddings, seen, MIXGCF, OPTIONS).vectors
    assert len(np.unique(pool.labels, axis=0)) == len(pool.labels)
    assert not (pool.labels[:, None] == stored[None]).all(axis=2).any()
    items = embeddings.final_items.detach().numpy()
    for label, pair in zip(pool.labels[:30], pool.pairs[:30], strict=True):
        positive, user = items[seen.items[pair]], seen.users[pair]
        outside = items[~np.isin(np.arange(seen.n_items), seen.items_of(user))]
        between = positive - outside  # label = m + a (positive - m) for one m outside, a in (0, 1)
        shares = ((label - outside) * between).sum(axis=1) / np.square(between).sum(axis=1)
        rests = np.abs(label - outside - shares[:, None] * between).max(axis=1)
        assert rests.min() < 1e-6
        assert 0 <= shares[rests.argmin()] < 1


def test_items_with_one_pair_get_no_labels(seen: Interactions) -> None:
    pairs = Interactions.of(np.arange(3), np.arange(3), n_users=3, n_items=5)
    pool = draw_more_labels(tables(pairs), pairs, MIXGCF, OPTIONS, np.arange(3))
    assert pool.labels.shape == (0, 8)
    assert draw_alternatives(np.arange(3), pairs.items, pool).counts.tolist() == [0, 0, 0]
