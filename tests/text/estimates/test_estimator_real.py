"""Estimates on real texts, several languages among them (marker `real`)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardneg.data import Dataset, FilterConfig, Split, SplitConfig, make_split
from hardneg.data.readers import read_table
from hardneg.llm.protocol import Reply, Request, Usage
from hardneg.text.estimates.cost_estimate import compare_with_estimate
from hardneg.text.estimates.estimator import EstimateConfig, estimate_generation, filler_words
from hardneg.text.generation.executor import MeteredExecutor
from hardneg.text.generation.negative_generation import NegativesConfig, generate_negatives
from hardneg.text.generation.profile_generation import ProfilesConfig, generate_profiles

pytestmark = pytest.mark.real


def scientific(real: Path) -> Split:
    folder = real / "amazon_scientific"
    data = read_table(folder / "interactions.parquet", folder / "items.parquet", columns={"timestamp": "position"})
    return make_split(data, SplitConfig(by="leave-one-out"))


def steam(real: Path) -> Split:
    """The 3-core of recommend = true."""
    folder = real / "steam_reviews"
    item_columns = {"item_id": "item_id", "title": "app_name", "categories": "tags"}
    data = read_table(folder / "reviews.parquet", folder / "games.parquet", item_columns=item_columns)
    liked = pl.read_parquet(folder / "reviews.parquet").filter("recommend")
    ids = liked.select(pl.col("user").cast(pl.String).alias("user_id"), pl.col("item_id").cast(pl.String))
    kept = data.interactions.join(ids.unique(), on=["user_id", "item_id"], how="semi", maintain_order="left")
    return make_split(Dataset(kept, data.items), SplitConfig(filters=FilterConfig(kcore=3)))


def size(text: str) -> int:
    """Return about the tokens of a text in any script: four bytes each."""
    return len(text.encode()) // 4


def answer(request: Request, blocks_of: Callable[[Request], dict[str, Any]]) -> Reply:
    """Return an answer of random length, longer for longer prompts."""
    shown = blocks_of(request)
    rng = np.random.default_rng(zlib.crc32(request.canonical.encode()))
    longer = rng.integers(10, 40) + min(len(json.dumps(shown)) // 200, 30)
    key = "hard_negative_item" if {"user", "item"} <= set(shown) else "summarization"
    answer_data = {
        key: filler_words(rng.integers(3, 15) if key != "summarization" else longer),
        "reasoning": filler_words(rng.integers(5, 30)),
    }
    text = json.dumps(answer_data)
    return Reply(text, Usage(sum(size(message.content) for message in request.messages), size(text)))


@pytest.mark.slow
@pytest.mark.parametrize("load", [scientific, steam])
def test_within_five_percent(load: Callable[[Path], Split], real: Path, rules: Any, blocks_of: Any) -> None:
    split = load(real)
    executor = rules(lambda request: answer(request, blocks_of))
    executor.model.count_tokens = lambda request: sum(size(message.content) for message in request.messages)
    profiles, negatives = ProfilesConfig(), NegativesConfig()
    estimate = estimate_generation(
        split, executor.model, profiles, negatives, EstimateConfig(sample=100, limit=1000), executor
    )
    metered = MeteredExecutor(executor)
    generate_negatives(
        split, generate_profiles(split, metered, executor.model, profiles), metered, executor.model, negatives
    )
    off: Any = compare_with_estimate(estimate, dict(zip(("items", "users", "negatives"), metered.runs, strict=False)))
    for kind in ("calls off", "prompt tokens off", "answer tokens off", "tokens off"):
        assert abs(off["total"][kind]) < 0.05, off
    assert abs(off["total"]["tokens off"]) < 0.03, off
