"""A store with known tastes: liked items, most of them never seen; texts that do, half do, or do not tell of taste.

How a pair comes about: a user has tastes over an item's traits (department, features, and traits no text mentions).
Popularity, and browsing in favourite departments, decide what a user is *shown*; of what is shown,
the user *chooses* with the like-probability. So liked items stay unobserved because nobody showed them, which is
what makes uniform negatives false now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.random import Generator
from pydantic import Field

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data import truth as truth_files
from hardneg.data.dataset import KIND, Dataset
from hardneg.data.synthetic_vocabulary import CLOSINGS, DEPARTMENTS, MAKERS, OPENERS
from hardneg.data.truth import Truth
from hardneg.random import generator
from hardneg.types import Floats, Indices

TextQuality = Literal["informative", "weak", "misleading"]


class SimulationConfig(Config):
    """Sizes, and how far texts tell of taste. The three presets differ in `text` alone."""

    text: TextQuality = "informative"
    """informative: texts name an item's traits, one in five drawn at random instead. weak: three in five drawn at
    random. misleading: an item bears the text of another item, so that text is unrelated to taste."""
    n_users: Annotated[int, Field(ge=10)] = 2000
    n_items: Annotated[int, Field(ge=50)] = 1200
    shown: Annotated[int, Field(ge=5)] = 150
    """Median number of items that a user is shown."""
    like_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.03
    """Share of the catalogue that a user likes, on average."""
    hidden_traits: Annotated[int, Field(ge=0)] = 6
    """Traits that tastes depend on and no text names."""
    seed: int = 0


PRESETS: dict[str, SimulationConfig] = {
    name: SimulationConfig(text=name) for name in ("informative", "weak", "misleading")
}
NOISE = {"informative": 0.2, "weak": 0.6}
"""Share of named traits (department, features) that are drawn at random."""
FEATURES_NAMED = 3
TASTE_SCALE = 2.0
DEPARTMENT_SCALE = 1.6
HIDDEN_SCALE = 0.8
QUALITY_SCALE = 0.4
POPULARITY_EXPONENT = 1.2
BROWSING = 2.0


@dataclass(frozen=True)
class Traits:
    """What the items are: department (items,), features (items, 3) as numbers within the department."""

    department: Indices
    features: Indices


def simulate_store(config: SimulationConfig) -> tuple[Dataset, Truth]:
    """Make the store: a dataset (with timestamps and reviews) and the factors that generated it."""
    traits = _draw_traits(config, generator(config.seed, "simulate traits"))
    truth = _draw_truth(config, traits, generator(config.seed, "simulate tastes"))
    users, items = _observe(config, truth, traits, generator(config.seed, "simulate exposure"))
    told = _told(config, traits, generator(config.seed, "simulate told traits"))
    texts = _item_texts(told, generator(config.seed, "simulate texts"))
    reviews = _reviews(users, items, told, generator(config.seed, "simulate reviews"))
    interactions = pl.DataFrame(
        {
            c.USER_ID: [f"u{user}" for user in users],
            c.ITEM_ID: [f"i{item}" for item in items],
            c.TIMESTAMP: _times(len(users), generator(config.seed, "simulate times")),
            c.REVIEW: reviews,
        }
    )
    return Dataset(interactions, texts), truth


def write_simulated(folder: Path, config: SimulationConfig) -> None:
    """Simulate into a dataset folder; the factors lie in its `truth/`."""
    dataset, truth = simulate_store(config)
    notes = {"rows": len(dataset.interactions), "items": len(dataset.items), "simulated": True}
    with artifacts.writing(folder, KIND, config.model_dump(), {}, notes) as out:
        dataset.interactions.write_parquet(out / "interactions.parquet", compression="zstd")
        dataset.items.write_parquet(out / "items.parquet", compression="zstd")
        truth_files.write_truth(out, truth)


def _draw_traits(config: SimulationConfig, rng: Generator) -> Traits:
    n_features = len(DEPARTMENTS[0].features)
    department = rng.integers(len(DEPARTMENTS), size=config.n_items)
    features = rng.random((config.n_items, n_features)).argsort(axis=1)[:, :FEATURES_NAMED]
    return Traits(department, features)


def _draw_truth(config: SimulationConfig, traits: Traits, rng: Generator) -> Truth:
    """Tastes over (department, feature of a department, hidden trait); offsets give each user the like rate."""
    n_departments, n_features = len(DEPARTMENTS), len(DEPARTMENTS[0].features)
    rows = np.arange(config.n_items)
    department = np.zeros((config.n_items, n_departments), np.float32)
    department[rows, traits.department] = 1.0
    feature = np.zeros((config.n_items, n_departments * n_features), np.float32)
    feature[rows[:, None], traits.department[:, None] * n_features + traits.features] = 1.0
    hidden = rng.normal(size=(config.n_items, config.hidden_traits)).astype(np.float32)
    scales = (DEPARTMENT_SCALE, TASTE_SCALE, HIDDEN_SCALE)
    blocks = (department, feature, hidden)
    tastes = np.concatenate(
        [s * rng.normal(size=(config.n_users, b.shape[1])) for s, b in zip(scales, blocks, strict=True)], axis=1
    )
    quality = QUALITY_SCALE * rng.normal(size=config.n_items)
    item_traits = np.concatenate(blocks, axis=1)
    affinity = tastes @ item_traits.T + quality
    return Truth(
        tastes.astype(np.float32), item_traits, quality.astype(np.float32), _offsets(affinity, config.like_rate)
    )


def _offsets(affinity: Floats, rate: float) -> Floats:
    """(users,) offsets at which each user's mean like-probability is `rate`, by bisection."""
    low, high = affinity.min(axis=1) - 20, affinity.max(axis=1) + 20
    for _ in range(40):
        middle = (low + high) / 2
        too_many = truth_files.sigmoid(affinity - middle[:, None]).mean(axis=1) > rate
        low, high = np.where(too_many, middle, low), np.where(too_many, high, middle)
    return np.asarray((low + high) / 2, np.float32)


def _observe(config: SimulationConfig, truth: Truth, traits: Traits, rng: Generator) -> tuple[Indices, Indices]:
    """Show items by popularity and browsing (Gumbel top-k, without repeats), then let users choose."""
    popularity = -POPULARITY_EXPONENT * np.log(rng.permutation(config.n_items) + 10.0)
    favourite = truth.user_tastes[:, : len(DEPARTMENTS)][:, traits.department] / DEPARTMENT_SCALE
    appeal = popularity + BROWSING * favourite + rng.gumbel(size=(config.n_users, config.n_items))
    amount = np.clip(config.shown * rng.lognormal(0.0, 0.5, config.n_users), 5, config.n_items // 2).astype(int)
    place = (-appeal).argsort(axis=1).argsort(axis=1)
    likes = rng.random(appeal.shape) < truth.like_probabilities(np.arange(config.n_users))
    users, items = np.nonzero((place < amount[:, None]) & likes)
    return users, items


def _told(config: SimulationConfig, traits: Traits, rng: Generator) -> Traits:
    """The traits that texts speak of."""
    if config.text == "misleading":
        order = rng.permutation(config.n_items)
        return Traits(traits.department[order], traits.features[order])
    other = _draw_traits(config, rng)
    wrong_department = rng.random(config.n_items) < NOISE[config.text]
    wrong_feature = rng.random(traits.features.shape) < NOISE[config.text]
    return Traits(
        np.where(wrong_department, other.department, traits.department),
        np.where(wrong_feature, other.features, traits.features),
    )


def _item_texts(told: Traits, rng: Generator) -> pl.DataFrame:
    rows = []
    for item, (d, features) in enumerate(zip(told.department, told.features, strict=True)):
        department = DEPARTMENTS[d]
        kind = department.kinds[rng.integers(len(department.kinds))]
        first, second, third = (department.features[f] for f in features)
        maker = MAKERS[rng.integers(len(MAKERS))]
        rows.append(
            {
                c.ITEM_ID: f"i{item}",
                c.TITLE: f"{maker} {first} {kind}",
                c.TEXT[1]: maker,
                c.TEXT[2]: f"{department.name}, {kind.capitalize()}",
                c.TEXT[3]: f"{first}, {second}, {third}",
                c.TEXT[4]: f"A {first} {kind} for {department.purpose}. It is {second} and {third}.",
            }
        )
    return pl.DataFrame(rows)


def _reviews(users: Indices, items: Indices, told: Traits, rng: Generator) -> list[str]:
    n = len(users)
    opener, closing = rng.integers(len(OPENERS), size=n), rng.integers(len(CLOSINGS), size=n)
    which = rng.integers(FEATURES_NAMED, size=n)
    words = (DEPARTMENTS[told.department[i]].features[told.features[i, w]] for i, w in zip(items, which, strict=True))
    return [f"{OPENERS[o]} {word}. {CLOSINGS[e]}" for o, word, e in zip(opener, words, closing, strict=True)]


def _times(n: int, rng: Generator) -> Indices:
    """Seconds within the two years from 2024-01-01 (UTC)."""
    return 1_704_067_200 + rng.integers(2 * 365 * 86_400, size=n)
