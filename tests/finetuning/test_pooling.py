"""Pools of data sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import make_inputs, opened

from hardneg.errors import DataError
from hardneg.finetuning import TuningConfig, tune
from hardneg.finetuning import tuning as module
from hardneg.finetuning.inputs import draw_pairs, pool_sets, rescale_inputs, select_pairs, set_numbers

CONFIG = TuningConfig(epochs=2, batch_size=8, micro_batch=8, held_out=0.2, look_every=2)


def test_a_pool_of_one_set_is_that_set() -> None:
    inputs, labels = make_inputs()
    result, found_labels = pool_sets([(inputs, labels)])
    for name in ("users", "items"):
        np.testing.assert_array_equal(getattr(result, name), getattr(inputs, name))
        np.testing.assert_array_equal(getattr(result.pairs, name), getattr(inputs.pairs, name))
    assert (result.user_profiles, result.item_profiles) == (inputs.user_profiles, inputs.item_profiles)
    assert (result.pairs.n_users, result.pairs.n_items) == (inputs.pairs.n_users, inputs.pairs.n_items)
    np.testing.assert_array_equal(found_labels, labels)


def test_prompts_are_the_same_in_a_pool() -> None:
    sets = [make_inputs(), make_inputs(users=4, items=7, seed=1), make_inputs(users=5, items=3, seed=2)]
    result, found_labels = pool_sets(sets)
    of_set, row = set_numbers(sets), 0
    for number, (inputs, labels) in enumerate(sets):
        for own in range(len(inputs.pairs)):
            for side in ("user", "item"):
                here, there = getattr(inputs.pairs, f"{side}s")[own], getattr(result.pairs, f"{side}s")[row]
                assert getattr(result, f"{side}_profiles")[there] == getattr(inputs, f"{side}_profiles")[here]
                np.testing.assert_array_equal(getattr(result, f"{side}s")[there], getattr(inputs, f"{side}s")[here])
            np.testing.assert_array_equal(found_labels[row], labels[own])
            assert of_set[row] == number
            row += 1
    assert row == len(result.pairs) == len(found_labels) == len(of_set)


def test_rescaling_removes_only_the_scale() -> None:
    inputs, labels = make_inputs()
    result, found_labels = rescale_inputs(inputs, labels)
    for table in (result.users, result.items):
        assert np.sqrt(np.mean(table.astype(np.float64) ** 2)) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(found_labels / labels, result.items[0, 0] / inputs.items[0, 0], rtol=1e-4)
    longer = replace(inputs, users=inputs.users * 3, items=inputs.items * 5)
    again, again_labels = rescale_inputs(longer, labels * 5)
    np.testing.assert_allclose(again.users, result.users, rtol=1e-5)
    np.testing.assert_allclose(again_labels, found_labels, rtol=1e-5)


def test_selected_pairs_keep_user_and_item_numbers() -> None:
    inputs, labels = make_inputs()
    rows = draw_pairs(len(inputs.pairs))[:5]
    result, found_labels = select_pairs((inputs, labels), rows)
    np.testing.assert_array_equal(result.pairs.users, inputs.pairs.users[np.sort(rows)])
    np.testing.assert_array_equal(result.pairs.items, inputs.pairs.items[np.sort(rows)])
    np.testing.assert_array_equal(found_labels, labels[np.sort(rows)])
    assert sorted(draw_pairs(9).tolist()) == list(range(9))


def test_other_sizes_are_refused() -> None:
    (inputs, labels), (other, other_labels) = make_inputs(), make_inputs(seed=1)
    with pytest.raises(DataError, match="sizes"):
        pool_sets([(inputs, labels), (replace(other, items=other.items[:, :3]), other_labels)])


def test_a_batch_holds_pairs_of_one_set(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [make_inputs(), make_inputs(users=8, items=9, seed=1)]
    of_set, compared, info_nce = set_numbers(sets), list[set[int]](), module.info_nce
    pooled_inputs, labels = pool_sets(sets)
    owner = {tuple(label.tolist()): number for label, number in zip(labels, of_set.tolist(), strict=True)}

    def watched(queries: torch.Tensor, *rest: torch.Tensor, temperature: float) -> torch.Tensor:
        compared.append({owner[tuple(row.tolist())] for row in rest[0]})
        return info_nce(queries, *rest, temperature=temperature)

    monkeypatch.setattr(module, "info_nce", watched)
    _, template, encoder, _, _ = opened(bases("bert"))
    monkeypatch.setattr(encoder.label_head, "forward", lambda vectors: vectors)
    encoder.width = labels.shape[1]
    monkeypatch.setattr(module.TuningLoop, "_encode", lambda self, rows: torch.ones(len(rows), 8, requires_grad=True))
    tune(encoder, template, pooled_inputs, labels, CONFIG, sets=of_set)
    assert {0} in compared
    assert {1} in compared
    assert {0, 1} not in compared
    compared.clear()
    tune(encoder, template, pooled_inputs, labels, CONFIG)
    assert {0, 1} in compared


def test_tuning_on_a_pool_of_one_set_is_tuning_on_that_set(bases: Bases) -> None:
    result = []
    for pool in (False, True):
        _, template, encoder, inputs, labels = opened(bases("bert"))
        pooled_inputs, given = pool_sets([(inputs, labels)]) if pool else (inputs, labels)
        sets = set_numbers([(inputs, labels)]) if pool else None
        result.append(tune(encoder, template, pooled_inputs, given, CONFIG, sets=sets))
    assert result[0].state.best_value == result[1].state.best_value
    one, other = (tuned.encoder.state_dict() for tuned in result)
    assert all(torch.equal(one[name], other[name]) for name in one)
