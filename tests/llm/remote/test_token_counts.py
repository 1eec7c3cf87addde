"""Token counts of servers: implausible ones are no counts, and a ceiling is noticed."""

from __future__ import annotations

from typing import Any

import pytest

from hardneg.llm.protocol import Usage
from hardneg.llm.remote.token_counts import PromptCeiling, read_prompt_tokens, read_usage

ESTIMATE = Usage(200, 30)


def answer(prompt: Any, written: Any = 20, **more: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": written, **more}}


def test_plausible_counts_are_taken() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 128}}
    assert read_usage(answer(190, 400, **details), ESTIMATE, 320) == Usage(190, 400, 128)
    assert read_usage(answer(1900), ESTIMATE, 320) == Usage(1900, 20)
    assert read_usage(answer(10, 0), Usage(12, 0), 320) == Usage(10, 0)


@pytest.mark.parametrize("cached", [-1, 500, "many", None, True])
def test_impossible_cached_tokens_count_as_none(cached: Any) -> None:
    assert (
        read_usage(answer(190, 20, prompt_tokens_details={"cached_tokens": cached}), ESTIMATE, 320).cached_tokens == 0
    )


@pytest.mark.parametrize(
    ("prompt", "written", "part"),
    [
        (0, 0, "0 prompt tokens"),
        (0, 20, "0 prompt tokens"),
        (-1, -1, "-1 prompt tokens"),
        ("190", 20, "'190' prompt tokens"),
        (190.5, 20, "190.5 prompt tokens"),
        (True, 20, "True prompt tokens"),
        (None, 20, "None prompt tokens"),
        (6_001, 20, "6001 prompt tokens"),
        (10**30, 20, "prompt tokens"),
        (3, 20, "3 prompt tokens"),
        (190, 0, "0 answer tokens"),
        (190, -5, "-5 answer tokens"),
        (190, 10**6, "1000000 answer tokens"),
        (190, None, "None answer tokens"),
    ],
)
def test_implausible_counts_are_estimated_with_the_reason(prompt: Any, written: Any, part: str) -> None:
    usage = read_usage(answer(prompt, written), ESTIMATE, 320)
    assert usage == Usage(200, 30, estimated=True)
    assert part in usage.reason


@pytest.mark.parametrize("usage", [None, {}, "much", [], 3])
def test_missing_usage(usage: Any) -> None:
    assert "no token counts" in read_usage({"usage": usage}, ESTIMATE, 320).reason
    assert read_prompt_tokens({"usage": usage}, 200) is None


def test_counts_above_ten_million_are_none() -> None:
    assert read_prompt_tokens(answer(9_000_000), 8_000_000) == 9_000_000
    assert read_prompt_tokens(answer(10_000_001), 8_000_000) is None


def test_identical_counts_of_different_longer_prompts_are_a_ceiling() -> None:
    ceiling = PromptCeiling()
    lengths = [1200, 5000, 5600, 1800, 6100, 7000, 9000, 9500]
    notices = [ceiling.add(answer(min(length, 4096)), length) for length in lengths]
    assert notices[:6] + notices[7:] == [""] * 7
    assert "context too short" in notices[6]
    assert "4,096" in notices[6]
    assert "9,000" in notices[6]


def test_a_far_lower_ceiling_shows_with_prompts_of_about_one_length() -> None:
    ceiling = PromptCeiling()
    assert any(ceiling.add(answer(100), length) for length in (300, 301, 302, 300, 301))


def test_a_ceiling_shows_where_estimates_are_too_low() -> None:
    ceiling = PromptCeiling()
    assert any(ceiling.add(answer(2048), length) for length in (1500, 1650, 1700, 1800, 1900))


def test_honest_counts_are_no_ceiling() -> None:
    for factor in (0.5, 1.0, 1.6):  # estimates that are systematically wrong
        ceiling = PromptCeiling()
        assert not any(ceiling.add(answer(int(n * factor)), n) for n in range(200, 4000, 7))
        assert not any(ceiling.add(answer(int(4000 * factor)), 4000) for _ in range(9)), "equal prompts"
