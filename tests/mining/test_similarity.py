"""Mean cosine of rows: a slow loop, and rows without a vector."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.mining import labels as similarity
from hardneg.mining.labels import mean_cosine


@pytest.mark.parametrize("block", [7, 1024])
def test_the_mean_cosine_equals_the_slow_loop(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(similarity, "BLOCK", block)
    one, other = rng.normal(size=(2, 40, 5))
    other[3] = 0
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) if b.any() else 0 for a, b in zip(one, other, strict=True)]
    assert mean_cosine(one, other) == pytest.approx(np.mean(cosines))


def test_rows_without_a_vector_are_ignored(rng: np.random.Generator) -> None:
    one, other = rng.normal(size=(2, 20, 4))
    more = np.concatenate([one, np.full((3, 4), np.nan)]), np.concatenate([other, rng.normal(size=(3, 4))])
    assert mean_cosine(*more) == pytest.approx(mean_cosine(one, other))
    assert np.isnan(mean_cosine(more[0][-3:], more[1][-3:]))
