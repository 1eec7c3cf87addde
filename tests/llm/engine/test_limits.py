"""Rate limits, pauses, and waits before retries."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.llm.engine.admission import RateLimits, TokenBucket, backoff, bounded_pause


@given(
    per_minute=st.floats(0.5, 6000),
    amounts=st.lists(st.tuples(st.floats(0.1, 300), st.floats(0, 100)), min_size=1, max_size=40),
)
def test_rate_holds_over_every_interval(per_minute: float, amounts: list[tuple[float, float]]) -> None:
    """Between two times at most rate * time was sent, plus one second's worth and the last call."""
    bucket, now, sent = TokenBucket(per_minute, 0.0), 0.0, []
    for amount, idle in amounts:
        now += idle
        now += bucket.wait(amount, now)
        assert bucket.wait(amount, now) < 1e-6
        bucket.take(amount)
        sent.append((now, amount))
    burst = max(1.0, per_minute / 60)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            before = sum(amount for _, amount in sent[first:last])
            allowed = burst + (sent[last][0] - sent[first][0]) * per_minute / 60
            assert before <= allowed * (1 + 1e-6) + 1e-6


def test_unused_tokens_are_returned() -> None:
    bucket = TokenBucket(60, 0.0)
    bucket.take(31)
    assert bucket.wait(1, 0.0) == pytest.approx(31)
    bucket.take(-20)
    assert bucket.wait(1, 0.0) == pytest.approx(11)
    bucket.take(-1000)
    assert bucket.wait(1, 0.0) == 0, "not above the capacity"
    bucket.take(1)
    assert bucket.wait(1, 0.0) == pytest.approx(1)


def test_amount_above_the_capacity_waits_for_a_full_bucket() -> None:
    bucket = TokenBucket(60, 0.0)
    assert bucket.wait(500, 0.0) == 0
    bucket.take(500)
    assert bucket.wait(1, 0.0) == pytest.approx(500)


def test_longest_wait_counts() -> None:
    limits = RateLimits(60, 600, 0.0)
    assert limits.limited
    assert limits.wait(10, 0.0) == 0
    limits.take(40)
    assert limits.wait(10, 0.0) == pytest.approx(4)
    limits.pause(9)
    limits.pause(5)
    assert limits.wait(10, 0.0) == pytest.approx(9)
    limits.settle(40, 10)
    assert limits.wait(10, 9.0) == 0


def test_without_limits_only_pauses_apply() -> None:
    limits = RateLimits(None, None, 0.0)
    assert not limits.limited
    assert limits.wait(1e9, 0.0) == 0
    limits.pause(3)
    assert limits.wait(0, 1.0) == pytest.approx(2)
    assert limits.wait(0, 3.0) == 0


@given(retry=st.integers(1, 10_000), first=st.floats(0.001, 10), longest=st.floats(0.001, 100), seed=st.integers())
def test_backoff_is_uniform_up_to_a_doubling_bound(retry: int, first: float, longest: float, seed: int) -> None:
    wait = backoff(retry, first=first, longest=longest, rng=Random(seed))
    assert 0 <= wait <= min(longest, first * 2.0 ** min(retry - 1, 60))


def test_backoff_uses_its_whole_range() -> None:
    rng = Random(0)
    waits = [backoff(3, first=1, longest=60, rng=rng) for _ in range(2000)]
    assert min(waits) < 0.05
    assert max(waits) > 3.95
    assert sum(waits) / 2000 == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("asked_seconds", "expected"),
    [(None, 0), (0, 0), (-3, 0), (math.nan, 0), (5, 5), (61, 60)],
)
def test_pause_is_bounded(asked_seconds: float | None, expected: float) -> None:
    assert bounded_pause(asked_seconds, 60) == expected
