"""Item tables that are initialized from texts and anchored to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.models import Anchor, AnchorConfig, LightGCNModel, MFModel, build_anchor, initialize_at_anchor
from hardneg.models.anchor import anchor_loss
from hardneg.types import Floats

SIZE = 4


@pytest.fixture
def texts(rng: np.random.Generator) -> Floats:
    result = rng.normal(size=(12, SIZE)).astype(np.float32)
    result[[3, 7]] = np.nan
    return result


def test_anchors_are_texts_with_the_scale_of_the_initialization(texts: Floats, seen: Interactions) -> None:
    anchor = build_anchor(texts, AnchorConfig())
    known = anchor.known
    assert known.tolist() == [item not in (3, 7) for item in range(12)]
    share = anchor.targets[known] / texts[known]
    np.testing.assert_allclose(share, share[0, 0], rtol=1e-5)
    usual = MFModel(Interactions.of(seen.users, seen.items, n_users=6, n_items=12), embedding_size=SIZE).items
    bound = np.sqrt(6 / (12 + SIZE))
    assert float(usual.detach().abs().max()) <= bound
    assert np.sqrt(np.mean(anchor.targets[known] ** 2)) == pytest.approx(bound / np.sqrt(3), rel=1e-5)
    longer = build_anchor(texts, AnchorConfig(length=2))
    np.testing.assert_allclose(longer.targets[known], 2 * anchor.targets[known], rtol=1e-6)
    assert [entry.count for entry in anchor.row_report] == [2]


def test_a_catalogue_without_texts_is_refused(texts: Floats) -> None:
    with pytest.raises(DataError, match="item table"):
        build_anchor(np.full_like(texts, np.nan), AnchorConfig())


@pytest.mark.parametrize("kind", [MFModel, LightGCNModel])
def test_items_start_at_their_texts_and_users_at_the_mean_of_their_items(
    kind: type[MFModel] | type[LightGCNModel], texts: Floats, seen: Interactions
) -> None:
    texts[7] = texts[3]  # user 4 has item 7 alone; make one of the two known
    anchor = build_anchor(texts, AnchorConfig())
    model, usual = kind(seen, embedding_size=SIZE, seed=1), kind(seen, embedding_size=SIZE, seed=1)
    initialize_at_anchor(model, anchor, seen)
    items, users, users_before = (table.detach().numpy() for table in (model.items, model.users, usual.users))
    for item in range(12):
        expected = anchor.targets[item] if anchor.known[item] else usual.items.detach().numpy()[item]
        np.testing.assert_array_equal(items[item], expected)
    means = {}
    for user in range(6):
        having = [item for item in seen.items_of(user) if anchor.known[item]]
        if having:
            means[user] = anchor.targets[having].mean(axis=0)
        else:
            np.testing.assert_array_equal(users[user], users_before[user])
    assert 4 not in means
    rows, expected = users[list(means)], np.stack(list(means.values()))
    np.testing.assert_allclose(rows / rows[0, 0], expected / expected[0, 0], rtol=1e-4)
    assert np.sqrt(np.mean(rows**2)) == pytest.approx(np.sqrt(np.mean(users_before**2)), rel=1e-5)


def test_anchors_of_another_catalogue_are_refused(texts: Floats, seen: Interactions) -> None:
    with pytest.raises(DataError, match=r"\(12, 8\)"):
        initialize_at_anchor(MFModel(seen, embedding_size=8), build_anchor(texts, AnchorConfig()), seen)


def test_the_loss_is_half_the_mean_squared_distance(texts: Floats, rng: np.random.Generator) -> None:
    anchor, table = Anchor(texts, 1.0), torch.tensor(rng.normal(size=(12, SIZE)).astype(np.float32), requires_grad=True)
    result = anchor_loss(table, anchor)
    distances = [0.5 * ((table[i].detach().numpy() - texts[i]) ** 2).sum() for i in range(12) if i not in (3, 7)]
    assert result.item() == pytest.approx(np.mean(distances), rel=1e-5)
    result.backward()
    expected = np.nan_to_num(table.detach().numpy() - texts) / 10
    np.testing.assert_allclose(table.grad.numpy(), expected, rtol=1e-5)
