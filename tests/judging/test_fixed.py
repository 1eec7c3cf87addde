"""Judges that ignore the candidates."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.data import Split
from hardneg.judging import AllPositive, JudgeInputs, RandomLabels


def test_all_candidates_are_positive(split: Split) -> None:
    result = AllPositive().build(JudgeInputs(split)).probabilities(np.arange(3), np.array([[1, 2], [3, -1], [4, 5]]))
    np.testing.assert_array_equal(result, [[1, 1], [1, np.nan], [1, 1]])


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.938, 1.0])
def test_random_has_its_rate(split: Split, rate: float) -> None:
    items = np.zeros((2000, 20), np.int64)
    result = RandomLabels(rate=rate).build(JudgeInputs(split)).probabilities(np.arange(2000), items)
    assert set(np.unique(result).tolist()) <= {0.0, 1.0}
    assert abs(result.mean() - rate) < 4 * (rate * (1 - rate) / items.size) ** 0.5 + 1e-12


def test_another_seed_gives_other_labels(split: Split) -> None:
    items = np.zeros((50, 20), np.int64)
    one, other = (
        RandomLabels(seed=seed).build(JudgeInputs(split)).probabilities(np.arange(50), items) for seed in (0, 1)
    )
    assert 0.3 < (one == other).mean() < 0.7
