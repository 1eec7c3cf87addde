"""Estimates against the actual usage of the same job."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.llm.function_model import FunctionModel

from hardneg.data import Split
from hardneg.data.truth import Truth
from hardneg.errors import ConfigError
from hardneg.llm.protocol import Message, Reply, Request, Usage
from hardneg.llm.usage import Price
from hardneg.text.estimates.cost_estimate import (
    FOLLOW_UPS,
    ITEMS,
    NEGATIVES,
    USERS,
    CostEstimate,
    Rate,
    StageEstimate,
    compare_with_estimate,
    hours,
    money,
)
from hardneg.text.estimates.estimator import (
    EstimateConfig,
    count_prompts,
    estimate_generation,
    evenly_spaced,
    filler_words,
)
from hardneg.text.generation.executor import MeteredExecutor, TokenUsage
from hardneg.text.generation.negative_generation import NegativesConfig, generate_negatives
from hardneg.text.generation.profile_generation import ProfilesConfig, generate_profiles
from hardneg.text.profiles import Profiles

STAGES = (ITEMS, USERS, NEGATIVES, FOLLOW_UPS)


def verbose(blocks_of: Callable[[Request], dict[str, Any]], *, bad: float = 0.0) -> Callable[[Request], Reply]:
    """Answer with very different lengths, some unusable; the server counts a tenth more prompt tokens than we do."""

    def answer(request: Request) -> Reply:
        shown = blocks_of(request)
        rng = np.random.default_rng(zlib.crc32(request.canonical.encode()))
        answer_data: object
        if "items" in shown:
            entries = [
                {
                    "item": e["item"],
                    "hard_negative_item": filler_words(rng.integers(3, 20)),
                    "reasoning": filler_words(rng.integers(5, 30)),
                }
                for e in shown["items"]["chosen"]
                if rng.random() >= bad
            ]
            answer_data = {"negatives": entries}
        elif "user" in shown and "item" in shown:
            answer_data = {
                "hard_negative_item": filler_words(rng.integers(3, 20)),
                "reasoning": filler_words(rng.integers(5, 30)),
            }
        else:
            answer_data = {
                "summarization": filler_words(rng.integers(20, 80)),
                "reasoning": filler_words(rng.integers(5, 30)),
            }
        text = json.dumps(answer_data)
        if rng.random() < bad / 2:
            text = text[: len(text) // 2]
        prompt = sum(len(message.content.split()) for message in request.messages)
        return Reply(text, Usage(round(1.1 * prompt), len(text.split())), seconds=0.5)

    return answer


def run_job(split: Split, executor: Any, profiles: ProfilesConfig, negatives: NegativesConfig) -> dict[str, TokenUsage]:
    """Run the job and return its usage by stage."""
    metered = MeteredExecutor(executor)
    written = generate_profiles(split, metered, executor.model, profiles)
    generate_negatives(split, written, metered, executor.model, negatives)
    return dict(zip(STAGES, metered.runs, strict=True))


@pytest.mark.parametrize(("per_call", "n", "bad"), [(1, 1, 0.0), (4, 1, 0.1), (3, 2, 0.0)])
def test_with_a_sample_within_five_percent(
    store: tuple[Split, Truth], rules: Any, blocks_of: Any, per_call: int, n: int, bad: float
) -> None:
    split, _ = store
    executor = rules(verbose(blocks_of, bad=bad), again=1)
    profiles, negatives = ProfilesConfig(), NegativesConfig(pairs_per_call=per_call, n=n, temperature=0.7)
    estimate = estimate_generation(split, executor.model, profiles, negatives, EstimateConfig(sample=80), executor)
    pilot_requests = list(executor.model.requests)
    assert len(pilot_requests) == estimate.sampled
    usage = run_job(split, executor, profiles, negatives)
    off: Any = compare_with_estimate(estimate, usage)
    assert abs(off["total"]["tokens off"]) < 0.05
    for name in STAGES[:3]:
        assert abs(off[name]["prompt tokens off"]) < 0.05
        assert abs(off[name]["calls off"]) < 0.05
    total = estimate.total
    assert total.prompt_error is not None
    assert total.answer_error is not None
    assert 0 < total.prompt_error < 0.05 * total.prompt_tokens
    assert abs(off["total"]["estimated prompt tokens"] - off["total"]["used prompt tokens"]) < 4 * total.prompt_error
    assert abs(off["total"]["estimated answer tokens"] - off["total"]["used answer tokens"]) < 4 * total.answer_error
    job = {request.digest("") + str(request.draw) for request in executor.model.requests[len(pilot_requests) :]}
    assert {request.digest("") + str(request.draw) for request in pilot_requests} <= job, (
        "the sample sends no other requests than the job"
    )


def test_a_sample_of_everything_is_exact(toy: Callable[..., Split], rules: Any, blocks_of: Any) -> None:
    split = toy([(0, 2, "a fine tent"), (1, 2, "it leaks")])
    executor = rules(verbose(blocks_of, bad=0.3), again=2)
    profiles, negatives = ProfilesConfig(), NegativesConfig(pairs_per_call=20, n=2, temperature=1)
    estimate = estimate_generation(split, executor.model, profiles, negatives, EstimateConfig(sample=99), executor)
    off: Any = compare_with_estimate(estimate, run_job(split, executor, profiles, negatives))
    for stage in STAGES[:3]:  # all of a user's pairs share a call, so that one pair of each user is all calls
        for kind in ("calls off", "prompt tokens off", "answer tokens off"):
            assert off[stage][kind] == pytest.approx(0, abs=1e-9)
    assert off[FOLLOW_UPS]["calls off"] == pytest.approx(0, abs=1e-9)
    assert off[FOLLOW_UPS]["used calls"] > 0
    assert abs(off["total"]["tokens off"]) < 0.05


def test_a_sample_of_pairs_alone(store: tuple[Split, Truth], rules: Any, blocks_of: Any) -> None:
    split, _ = store
    written = Profiles(["for cooks"] * split.train.n_items, ["cooks"] * split.train.n_users, "hand")
    executor = rules(verbose(blocks_of))
    estimate = estimate_generation(
        split, executor.model, written, NegativesConfig(), EstimateConfig(sample=30), executor
    )
    assert len(executor.model.requests) == estimate.sampled == 30
    metered = MeteredExecutor(executor)
    generate_negatives(split, written, metered, executor.model)
    off: Any = compare_with_estimate(estimate, {NEGATIVES: metered.runs[0]})
    assert off["total"]["prompt tokens off"] == pytest.approx(0, abs=0.01)
    assert abs(off["total"]["tokens off"]) < 0.05
    assert estimate.stages[0].seconds_per_call == 0.5


def test_without_a_sample_prompts_of_items_are_exact(store: tuple[Split, Truth], good: Any) -> None:
    split, _ = store
    profiles, negatives = ProfilesConfig(), NegativesConfig()
    estimate = estimate_generation(split, good.model, profiles, negatives)
    assert not good.model.requests
    assert estimate.sampled == 0
    usage = run_job(split, good, profiles, negatives)
    items, users, pairs = estimate.stages
    assert (items.calls, items.prompt_tokens, items.prompt_error) == (
        usage[ITEMS].calls,
        usage[ITEMS].prompt_tokens,
        0.0,
    )
    assert (users.calls, pairs.calls) == (split.train.n_users, len(split.train))
    assert users.prompt_error is None, "assumed lengths have no known error"
    assert (items.rows, items.counted) == (split.train.n_items, split.train.n_items)


def test_existing_profiles_are_used_as_they_are(store: tuple[Split, Truth], good: Any) -> None:
    split, _ = store
    written = generate_profiles(split, good, good.model)
    estimate = estimate_generation(split, good.model, written, NegativesConfig(pairs_per_call=5))
    metered = MeteredExecutor(good)
    generate_negatives(split, written, metered, good.model, NegativesConfig(pairs_per_call=5))
    (stage,) = estimate.stages
    assert (stage.name, stage.calls, stage.prompt_tokens) == (
        NEGATIVES,
        metered.runs[0].calls,
        metered.runs[0].prompt_tokens,
    )
    assert stage.prompt_error == 0


def test_the_error_with_a_limit_is_valid(store: tuple[Split, Truth], good: Any) -> None:
    """Over many starts, the estimate's spread is no larger than its stated error, and its mean is right."""
    split, _ = store
    written = Profiles(
        [filler_words(5 + 3 * (i % 9)) for i in range(split.train.n_items)], ["x y"] * split.train.n_users, "hand"
    )
    whole = estimate_generation(split, good.model, written, NegativesConfig()).stages[0]
    found = [
        estimate_generation(split, good.model, written, NegativesConfig(), EstimateConfig(limit=60, seed=seed)).stages[
            0
        ]
        for seed in range(30)
    ]
    assert all(stage.counted == 60 for stage in found)
    tokens = np.array([stage.prompt_tokens for stage in found])
    errors = np.array([stage.prompt_error for stage in found])
    assert abs(tokens.mean() - whole.prompt_tokens) < 3 * errors.mean() / 30**0.5
    assert 0.2 * errors.mean() < tokens.std() < 1.5 * errors.mean()


@pytest.mark.parametrize(("n", "size"), [(10, 10), (10, 3), (7, 5), (1, 1), (5, 0), (0, 4), (1000, 7)])
def test_rows_are_spread_evenly(n: int, size: int, rng: np.random.Generator) -> None:
    rows = evenly_spaced(n, size, rng)
    assert len(rows) == min(n, size)
    assert len(set(rows.tolist())) == len(rows)
    if len(rows):
        assert 0 <= rows.min() <= rows.max() < n
        assert np.diff(rows, prepend=rows[0] - n // size).max() <= n // size + 1


def test_rows_without_a_request_count_nothing(rng: np.random.Generator) -> None:
    request = Request((Message("user", "one two three"),), 5)
    model = FunctionModel(lambda _: "")
    found = count_prompts(lambda row: request if row % 4 else "nothing", 40, model, 40, rng)
    assert (found.rows, found.requests, found.tokens, found.error) == (40, 30, 90.0, 0.0)
    some = count_prompts(lambda row: request if row % 4 else "nothing", 40, model, 20, rng)
    assert some.requests in {20, 40}, "even spacing can coincide with a period of the data"
    assert some.error >= 0


def test_a_closed_list_is_answered_by_titles(store: tuple[Split, Truth], rules: Any) -> None:
    split, _ = store
    titles = split.texts["title"].to_list()
    executor = rules(lambda request: next(title for title in titles if title not in request.excluded))
    written = Profiles(["for cooks"] * split.train.n_items, ["cooks"] * split.train.n_users, "hand")
    config = NegativesConfig(constrained=True)
    estimate = estimate_generation(split, executor.model, written, config)
    metered = MeteredExecutor(executor)
    generate_negatives(split, written, metered, executor.model, config)
    off: Any = compare_with_estimate(estimate, {NEGATIVES: metered.runs[0]})
    assert abs(off["total"]["tokens off"]) < 0.02


def test_a_sample_needs_an_executor(store: tuple[Split, Truth], good: Any) -> None:
    with pytest.raises(ConfigError, match="sample of 5 "):
        estimate_generation(store[0], good.model, ProfilesConfig(), None, EstimateConfig(sample=5))


def test_the_same_seed_gives_the_same_estimate(store: tuple[Split, Truth], rules: Any, blocks_of: Any) -> None:
    def once() -> tuple[CostEstimate, list[Request]]:
        executor = rules(verbose(blocks_of))
        config = EstimateConfig(sample=5, limit=50, seed=3)
        return estimate_generation(
            store[0], executor.model, ProfilesConfig(), NegativesConfig(), config, executor
        ), executor.model.requests

    assert once() == once()


ONE = StageEstimate("items", 10, 10, 10.0, 3e6, 3.0, 1e6, 4.0, 2.0)
TWO = StageEstimate("users", 5, 5, 5.0, 1e6, 4.0, 2e6, None)


def test_money_and_hours_by_hand() -> None:
    price = Price(prompt=0.5, answer=2.0)
    assert money(ONE, price) == pytest.approx(3.5)
    assert money(ONE, None) is None
    assert hours(ONE, Rate(calls_per_minute=2)) == pytest.approx(5 / 60)
    assert hours(ONE, Rate(calls_per_minute=2, tokens_per_minute=1e5)) == pytest.approx(40 / 60)
    with pytest.raises(ConfigError, match="rate"):
        hours(ONE, Rate())
    table = CostEstimate((ONE, TWO)).table(price, Rate(calls_per_minute=2))
    assert table["name"].to_list() == ["items", "users", "total"]
    assert table["money"].to_list() == pytest.approx([3.5, 4.5, 8.0])
    assert table["prompt_error"].to_list() == [3.0, 4.0, 5.0]
    assert table["answer_error"].to_list() == [4.0, None, None]


def test_comparison_by_hand() -> None:
    off = compare_with_estimate(
        CostEstimate((ONE, TWO)), {"items": TokenUsage(8, 2_000_000, 2_000_000)}, Price(prompt=1, answer=1)
    )
    assert set(off) == {"items", "total"}
    assert off["items"] == off["total"]
    assert off["total"]["calls off"] == pytest.approx(0.25)
    assert off["total"]["prompt tokens off"] == pytest.approx(0.5)
    assert off["total"]["answer tokens off"] == pytest.approx(-0.5)
    assert off["total"]["tokens off"] == off["total"]["money off"] == 0
    assert (off["items"]["estimated money"], off["items"]["used money"]) == (4.0, 4.0)
    nothing = compare_with_estimate(CostEstimate((ONE,)), {"items": TokenUsage()})
    assert nothing["items"]["tokens off"] is None
