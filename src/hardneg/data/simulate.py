"""Simulated data with a known ground truth and informative, weak or misleading item texts.

Every user has preferences over the traits of items: department, features, and traits that no text mentions.
Popularity and the user's favourite departments determine which items are *shown*. A shown item is *chosen* with its
like-probability. Most liked items are never shown and stay unobserved, so some uniform negatives are false.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Literal, get_args

import numpy as np
import polars as pl
import yaml
from numpy.random import Generator
from pydantic import Field

from hardneg.config import MAX_PER_ROW, Config, Seed
from hardneg.data import columns as c
from hardneg.data.dataset import Dataset, write_dataset
from hardneg.data.truth import Truth, sigmoid, write_truth
from hardneg.random import generator
from hardneg.stage import Draft
from hardneg.types import Floats, Indices

TextQuality = Literal["informative", "weak", "misleading"]


class Department(Config):
    """A department of the simulated catalogue; users have preferences over its eight features."""

    name: str
    purpose: str
    kinds: tuple[str, ...]
    features: tuple[str, ...]


_WORDS = yaml.safe_load((files("hardneg.data") / "synthetic_vocabulary.yaml").read_text(encoding="utf-8"))
DEPARTMENTS = tuple(Department(**values) for values in _WORDS["departments"])
MAKERS, OPENERS, CLOSINGS = (_WORDS[name] for name in ("makers", "openers", "closings"))


class SimulationConfig(Config):
    """Sizes of the data and quality of the texts. The presets differ only in `text`."""

    text: TextQuality = "informative"
    """informative: texts name the item's traits, of which one in five is replaced at random. weak: three in five are
    replaced. misleading: every item has the text of another item, so texts are unrelated to preferences."""
    n_users: Annotated[int, Field(ge=10, le=1_000_000)] = 2000
    n_items: Annotated[int, Field(ge=50, le=1_000_000)] = 1200
    shown: Annotated[int, Field(ge=5, le=MAX_PER_ROW)] = 150
    """Median number of items shown to a user."""
    like_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.03
    """Mean share of the catalogue that a user likes."""
    hidden_traits: Annotated[int, Field(ge=0, le=1_000)] = 6
    """Number of traits that preferences depend on and no text names."""
    seed: Seed = 0


PRESETS = {name: SimulationConfig(text=name) for name in get_args(TextQuality)}
NOISE = {"informative": 0.2, "weak": 0.6}
"""Share of traits in texts (department, features) that are replaced at random."""
FEATURES_PER_ITEM = 3
FEATURE_SCALE = 2.0
DEPARTMENT_SCALE = 1.6
HIDDEN_SCALE = 0.8
QUALITY_SCALE = 0.4
POPULARITY_EXPONENT = 1.2
BROWSING = 2.0
START = 1_704_067_200
"""First second of the two years of interactions, 2024-01-01 (UTC)."""


@dataclass(frozen=True)
class Traits:
    """Traits of items: department (items,) and features (items, 3), numbered within the department."""

    department: Indices
    features: Indices


def simulate_store(config: SimulationConfig) -> tuple[Dataset, Truth]:
    """Simulate a dataset, with timestamps and reviews, and return it with the factors that generated it."""
    traits = _draw_traits(config, generator(config.seed, "simulate traits"))
    truth = _draw_truth(config, traits, generator(config.seed, "simulate tastes"))
    users, items = _observe(config, truth, traits, generator(config.seed, "simulate exposure"))
    text_traits = _draw_text_traits(config, traits, generator(config.seed, "simulate told traits"))
    texts = _write_item_texts(text_traits, generator(config.seed, "simulate texts"))
    reviews = _write_reviews(users, items, text_traits, generator(config.seed, "simulate reviews"))
    interactions = pl.DataFrame(
        {
            c.USER_ID: [f"u{user}" for user in users],
            c.ITEM_ID: [f"i{item}" for item in items],
            c.TIMESTAMP: START
            + generator(config.seed, "simulate times").integers(2 * 365 * 86_400, size=len(users)) * 1.0,
            c.REVIEW: reviews,
        }
    )
    return Dataset(interactions, texts), truth


def write_simulated(draft: Draft, config: SimulationConfig) -> None:
    """Simulate a dataset and write it; the generating factors go into `truth/`."""
    dataset, truth = simulate_store(config)
    write_dataset(draft, dataset)
    draft.notes["simulated"] = True
    write_truth(draft.folder, truth)


def _draw_traits(config: SimulationConfig, rng: Generator) -> Traits:
    n_features = len(DEPARTMENTS[0].features)
    department = rng.integers(len(DEPARTMENTS), size=config.n_items)
    features = rng.random((config.n_items, n_features)).argsort(axis=1)[:, :FEATURES_PER_ITEM]
    return Traits(department, features)


def _draw_truth(config: SimulationConfig, traits: Traits, rng: Generator) -> Truth:
    """Draw preferences over (department, feature of a department, hidden trait) and offsets that fix the like rate."""
    n_departments, n_features = len(DEPARTMENTS), len(DEPARTMENTS[0].features)
    rows = np.arange(config.n_items)
    department = np.zeros((config.n_items, n_departments), np.float32)
    department[rows, traits.department] = 1.0
    feature = np.zeros((config.n_items, n_departments * n_features), np.float32)
    feature[rows[:, None], traits.department[:, None] * n_features + traits.features] = 1.0
    hidden = rng.normal(size=(config.n_items, config.hidden_traits)).astype(np.float32)
    scales = (DEPARTMENT_SCALE, FEATURE_SCALE, HIDDEN_SCALE)
    blocks = (department, feature, hidden)
    preferences = np.concatenate(
        [s * rng.normal(size=(config.n_users, b.shape[1])) for s, b in zip(scales, blocks, strict=True)], axis=1
    )
    quality = QUALITY_SCALE * rng.normal(size=config.n_items)
    item_traits = np.concatenate(blocks, axis=1)
    offsets = _fit_offsets(preferences @ item_traits.T + quality, config.like_rate)
    return Truth(preferences.astype(np.float32), item_traits, quality.astype(np.float32), offsets)


def _fit_offsets(affinity: Floats, rate: float) -> Floats:
    """Return offsets (users,) at which each user's mean like-probability is `rate`, by bisection."""
    low, high = affinity.min(axis=1) - 20, affinity.max(axis=1) + 20
    for _ in range(40):
        middle = (low + high) / 2
        too_many = sigmoid(affinity - middle[:, None]).mean(axis=1) > rate
        low, high = np.where(too_many, middle, low), np.where(too_many, high, middle)
    return np.asarray((low + high) / 2, np.float32)


def _observe(config: SimulationConfig, truth: Truth, traits: Traits, rng: Generator) -> tuple[Indices, Indices]:
    """Draw the items shown, by popularity and favourite departments (Gumbel top-k), and the items chosen of them."""
    popularity = -POPULARITY_EXPONENT * np.log(rng.permutation(config.n_items) + 10.0)
    favourite = truth.user_preferences[:, : len(DEPARTMENTS)][:, traits.department] / DEPARTMENT_SCALE
    appeal = popularity + BROWSING * favourite + rng.gumbel(size=(config.n_users, config.n_items))
    n_shown = np.clip(config.shown * rng.lognormal(0.0, 0.5, config.n_users), 5, config.n_items // 2).astype(int)
    rank = (-appeal).argsort(axis=1).argsort(axis=1)
    likes = rng.random(appeal.shape) < truth.like_probabilities(np.arange(config.n_users))
    users, items = np.nonzero((rank < n_shown[:, None]) & likes)
    return users, items


def _draw_text_traits(config: SimulationConfig, traits: Traits, rng: Generator) -> Traits:
    """Return the traits that texts name."""
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


def _write_item_texts(traits: Traits, rng: Generator) -> pl.DataFrame:
    rows = []
    for item, (d, features) in enumerate(zip(traits.department, traits.features, strict=True)):
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


def _write_reviews(users: Indices, items: Indices, traits: Traits, rng: Generator) -> list[str]:
    n = len(users)
    opener, closing = rng.integers(len(OPENERS), size=n), rng.integers(len(CLOSINGS), size=n)
    which = rng.integers(FEATURES_PER_ITEM, size=n)
    words = (
        DEPARTMENTS[traits.department[i]].features[traits.features[i, w]] for i, w in zip(items, which, strict=True)
    )
    return [f"{OPENERS[o]} {word}. {CLOSINGS[e]}" for o, word, e in zip(opener, words, closing, strict=True)]
