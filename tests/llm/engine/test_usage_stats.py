"""How far a run is, in numbers and in one line."""

from __future__ import annotations

import pytest

from hardneg.llm.engine.usage_stats import UsageCounter, UsageStats
from hardneg.llm.prices import Price
from hardneg.llm.protocol import Usage


def test_one_line() -> None:
    tally = UsageStats(
        rows=12_345, total=100_000, prompt_tokens=1_100_000, answer_tokens=120_000, money=0.413, seconds=12_345 / 210
    )
    assert str(tally) == "12,345/100,000 rows, 210/s, 1.2M tokens, $0.41, 7 min left"


def test_what_is_unknown_is_left_out() -> None:
    assert str(UsageStats(rows=3, failed=1, prompt_tokens=900, seconds=6.0)) == "3 rows, 1 failed, 0.5/s, 900 tokens"
    assert str(UsageStats(total=9)) == "0/9 rows, 0/s, 0 tokens"


def test_stored_rows_do_not_speed_up_the_forecast() -> None:
    tally = UsageStats(rows=900, stored=800, total=1000, seconds=50)
    assert tally.rate == 2
    assert tally.seconds_left == 50
    assert UsageStats(rows=900, stored=900, total=1000, seconds=50).rate == 18


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (89, "89 s"), (125, "2 min"), (7500, "2 h 05 min")])
def test_time_left(seconds: int, said: str) -> None:
    assert str(UsageStats(rows=1, total=1 + seconds, seconds=1)).endswith(f" {said} left")


def test_counting() -> None:
    counts = UsageCounter(5, Price(prompt=1e6, cached=0, answer=2e6))
    assert counts.spend(Usage(10, 3, 4)) == 12
    counts.spend(Usage(1, 0))
    tally = counts.now()
    assert (tally.prompt_tokens, tally.answer_tokens, tally.cached_tokens, tally.money) == (11, 3, 4, 13)
    assert (tally.total, tally.rows) == (5, 0)
    assert UsageCounter(None, None).spend(Usage(1, 1)) == 0
    assert UsageCounter(None, None).now().money is None
