"""Usage statistics in numbers and in one line."""

from __future__ import annotations

import pytest

from hardneg.llm.protocol import Usage
from hardneg.llm.usage import MAX_REASONS, Price, UsageStats


def test_one_line() -> None:
    usage = UsageStats(
        rows=12_345, total=100_000, prompt_tokens=1_100_000, answer_tokens=120_000, money=0.413, seconds=12_345 / 210
    )
    assert str(usage) == "12,345/100,000 rows, 210/s, 1.2M tokens (18.7k prompt, 2.0k answer/s), $0.41, 7 min left"


def test_unknown_values_are_omitted() -> None:
    usage = UsageStats(rows=3, failed=1, prompt_tokens=900, seconds=6.0)
    assert str(usage) == "3 rows, 1 failed, 0.5/s, 900 tokens (150 prompt, 0 answer/s)"
    assert str(UsageStats(total=9)) == "0/9 rows, 0/s, 0 tokens"


def test_stored_rows_do_not_change_the_remaining_time() -> None:
    usage = UsageStats(rows=900, stored=800, total=1000, seconds=50)
    assert usage.rate == 2
    assert usage.seconds_left == 50
    assert UsageStats(rows=900, stored=900, total=1000, seconds=50).rate == 18


@pytest.mark.parametrize(("seconds", "expected"), [(5, "5 s"), (89, "89 s"), (125, "2 min"), (7500, "2 h 05 min")])
def test_time_left(seconds: int, expected: str) -> None:
    assert str(UsageStats(rows=1, total=1 + seconds, seconds=1)).endswith(f" {expected} left")


def test_counting() -> None:
    usage, price = UsageStats(total=5, money=0.0), Price(prompt=1e6, cached=0, answer=2e6)
    assert usage.add(Usage(10, 3, 4), price) == 12
    usage.add(Usage(1, 0), price)
    assert (usage.prompt_tokens, usage.answer_tokens, usage.cached_tokens, usage.money) == (11, 3, 4, 13)
    free = UsageStats()
    assert free.add(Usage(1, 1), None) == 0
    assert free.money is None


def test_sum_of_two_runs() -> None:
    both = UsageStats(rows=2, calls=1, money=0.5, total=9, seconds=1) + UsageStats(rows=3, repairs=1, seconds=2)
    assert both == UsageStats(rows=5, calls=1, repairs=1, money=0.5, seconds=3)
    assert (UsageStats() + UsageStats()).money is None


def test_estimated_tokens_are_marked_with_the_first_reason() -> None:
    usage = UsageStats()
    usage.add(Usage(10, 3, estimated=True, reason="the server reports 0 prompt tokens"), None)
    usage.add(Usage(10, 3, estimated=True, reason="another"), None)
    both = UsageStats() + usage
    assert (both.estimated, both.estimate_reason) == (2, "the server reports 0 prompt tokens")
    assert "26 tokens (estimated)" in str(both)


def test_failures_are_counted_by_reason_up_to_a_number_of_reasons() -> None:
    usage = UsageStats()
    assert usage.describe_failures() == ""
    for number in range(1000):
        usage.count_failure(f"reason {number}", number, "not sent again")
    usage.count_failure("reason 7", 7, "not sent again")
    assert len(usage.failures) == MAX_REASONS + 1
    assert usage.failures["reason 7"] == 2
    assert usage.notices == ["first failure: reason 0 (row 0); not sent again"]
    assert "2 times reason 7" in usage.describe_failures()
