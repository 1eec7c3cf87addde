"""The range of an axis against a search over every set of spans that may be cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hardneg.report.axis_range import choose_range

Spans = list[tuple[float, float]]


def length(spans: Spans, always: list[float]) -> float:
    ends = [*always, *(end for span in spans for end in span)]
    return max(ends) - min(ends)


def choose_slowly(spans: Spans, always: list[float]) -> tuple[float, float]:
    """Try every set of spans of the smallest size that halves the range."""
    kept, left = sorted(spans), len(spans) // 3
    size = 1
    while size <= left:
        rests = [list(rest) for rest in itertools.combinations(kept, len(kept) - size)]
        best = min(rests, key=lambda rest: length(rest, always))
        if 2 * length(best, always) <= length(kept, always):
            kept, left, size = best, left - size, 1
        else:
            size += 1
    ends = [*always, *(end for span in kept for end in span)]
    return min(ends), max(ends)


@pytest.mark.parametrize("seed", range(40))
def test_the_fewest_outer_spans_are_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    means = rng.standard_t(1, int(rng.integers(1, 9)))
    spans = [
        (float(mean - width), float(mean + width)) for mean, width in zip(means, rng.random(len(means)), strict=True)
    ]
    always = [0.0] if seed % 2 else []
    assert choose_range(spans, always) == choose_slowly(spans, always)


def test_nothing_is_cut_where_the_others_need_more_than_half_or_there_are_two() -> None:
    assert choose_range([(0, 1), (2, 3), (4, 5), (8, 9)]) == (0, 9)
    assert choose_range([(0, 1), (100, 101)]) == (0, 101)


def test_one_far_value_and_then_a_nearer_one_are_cut() -> None:
    near = [(-0.01 * n, 0.01 * n) for n in range(1, 5)]
    assert choose_range([*near, (-0.9, -0.8), (-0.3, -0.2)], [0.0]) == (-0.04, 0.04)


def test_equal_values_leave_a_range() -> None:
    assert choose_range([(1, 1), (1, 1), (5, 5)]) == (1, 5)
