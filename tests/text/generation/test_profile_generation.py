"""Profiles from a rule-based model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardneg.artifacts import read_manifest
from hardneg.data import Dataset, Split, SplitConfig, make_split, simulate
from hardneg.llm.protocol import Refusal, Request
from hardneg.stage import Stage
from hardneg.text import profiles
from hardneg.text.generation.message_formats import NONE_FOUND
from hardneg.text.generation.negative_generation import NegativesConfig, generate_negatives
from hardneg.text.generation.profile_generation import NOT_ANSWERED, generate_profiles
from hardneg.text.profiles import Missing

Toy = Callable[..., Split]


def test_items_first_then_users_who_see_their_items_profiles(toy: Toy, good: Any, blocks_of: Any) -> None:
    generated = generate_profiles(toy([(0, 0, "boils well")]), good, good.model)
    assert generated.items == [
        f"for people of {title}" for title in ("red kettle", "red pan", "green tent", "green stove", "blue mat")
    ]
    assert generated.users == [
        "likes red kettle, red pan, green tent",
        "likes green stove, green tent",
        "likes blue mat",
    ]
    assert generated.source == "rules"
    assert generated.item_reasoning == ["it says so"] * 5
    assert generated.user_reasoning == ["chose them"] * 3
    assert generated.missing == ()
    kinds = ["item" if "item" in blocks_of(request) else "user" for request in good.model.requests]
    assert kinds == ["item"] * 5 + ["user"] * 3
    first = blocks_of(good.model.requests[5])["user"]["chosen"][0]
    assert first == {"title": "red kettle", "profile": "for people of red kettle", "review": "boils well"}


def unreliable(blocks_of: Callable[[Request], dict[str, Any]]) -> Callable[[Request], str | Refusal]:
    """Fail in a different way for each item; return no profile of the third user."""

    def answer(request: Request) -> str | Refusal:
        shown = blocks_of(request)
        content = json.dumps(shown)
        if "item" in shown and "kettle" in content:
            return json.dumps({"summarization": "None", "reasoning": "too little"})
        if "item" in shown and "pan" in content:
            return "I would rather not."
        if "item" in shown and "stove" in content:
            return Refusal("the prompt is too long")
        return json.dumps(
            {"summarization": "None" if "mat" in content and "user" in shown else "fine", "reasoning": "so"}
        )

    return answer


def test_rows_without_a_profile_are_blank_and_named(toy: Toy, rules: Any, blocks_of: Any, tmp_path: Path) -> None:
    split = toy(titles=["red kettle", "red pan", "green tent", "green stove", "mat"])
    executor = rules(unreliable(blocks_of))
    generated = generate_profiles(split, executor, executor.model)
    assert generated.items == ["", "", "fine", "", "fine"]
    assert generated.users == ["fine", "fine", ""]
    reasons = {(missing.side, missing.number): missing.reason for missing in generated.missing}
    assert set(reasons) == {("item", 0), ("item", 1), ("item", 3), ("user", 2)}
    assert reasons["item", 0] == reasons["user", 2] == NONE_FOUND
    assert reasons["item", 3] == "the prompt is too long"
    assert generated.item_reasoning[0] == "too little", "the reasoning of a None is kept"

    Stage(profiles.KIND, {}, {}, lambda draft: profiles.write_profiles(draft, generated, split)).run(tmp_path / "p")
    assert profiles.read_profiles(tmp_path / "p") == generated
    failed = pl.read_parquet(tmp_path / "p" / "failed.parquet")
    assert failed.columns == ["side", "id", "reason"]
    assert failed.rows()[0] == ("item", "1", NONE_FOUND)
    items = pl.read_parquet(tmp_path / "p" / "items.parquet")
    assert items.columns == ["item_id", "profile", "reasoning", "source"]
    assert items["reasoning"].to_list() == generated.item_reasoning
    notes = read_manifest(tmp_path / "p", profiles.KIND)["notes"]
    assert (notes["source"], notes["blank items"], notes["blank users"]) == ("rules", 3, 1)
    assert sum(entry["count"] for entry in notes["rows left out"]) == 4


def test_rows_without_an_answer_are_reported(toy: Toy, good: Any) -> None:
    def forgetful(tasks: Any, total: int) -> Any:
        return (answer for answer in good(tasks, total) if answer.row != 1)

    generated = generate_profiles(toy(), forgetful, good.model)
    assert generated.missing == (Missing("item", 1, NOT_ANSWERED), Missing("user", 1, NOT_ANSWERED))


def test_answers_in_any_order_are_put_in_their_rows(toy: Toy, good: Any) -> None:
    def backward(tasks: Any, total: int) -> Any:
        return iter(list(good(tasks, total))[::-1])

    assert generate_profiles(toy(), backward, good.model) == generate_profiles(toy(), good, good.model)


@pytest.fixture(scope="module")
def canary() -> tuple[Split, str]:
    """A simulated split with one marker word in held-out reviews and another in train reviews."""
    dataset, _ = simulate.simulate_store(simulate.SimulationConfig(n_users=40, n_items=50, shown=40, like_rate=0.15))
    rng = np.random.default_rng(0)
    parts = pl.Series("split", rng.choice(["train", "train", "valid", "test"], len(dataset.interactions)))
    word = pl.when(parts == "train").then(pl.lit(" fairword")).otherwise(pl.lit(" canaryword"))
    frame = dataset.interactions.with_columns(parts, review=pl.col("review") + word)
    return make_split(Dataset(frame, dataset.items), SplitConfig(by="given")), "canaryword"


def test_no_held_out_review_reaches_a_prompt(canary: tuple[Split, str], good: Any) -> None:
    split, word = canary
    assert len(split.test) > 20
    written = generate_profiles(split, good, good.model)
    generate_negatives(split, written, good, good.model, NegativesConfig(pairs_per_call=3))
    content = " ".join(message.content for request in good.model.requests for message in request.messages)
    assert "fairword" in content
    assert word not in content


def test_held_out_pairs_change_no_request(canary: tuple[Split, str], good: Any, rules: Any) -> None:
    split, _ = canary
    generated = generate_profiles(split, good, good.model)
    other = rules(good.model._answer)
    for part in ("valid", "test"):
        split = split.with_part(part, np.array([0, 1]), np.array([3, 3]))
    assert generate_profiles(split, other, other.model) == generated
    assert other.model.requests == good.model.requests
