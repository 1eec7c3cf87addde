"""A catalogue with two small trees, a split over it, and a language model that is a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.llm.function_model import FunctionModel

from hardneg.data import Interactions, Split
from hardneg.data.split import Vocabulary
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import Refusal, Reply, Request
from hardneg.llm.session import Session
from hardneg.trees import PathCodes, Trees

Answering = Callable[[Callable[[Request], str | Reply | Refusal]], Session]
N_ITEMS = 40


def codes_of(rng: np.random.Generator, n_items: int = N_ITEMS) -> PathCodes:
    """Path codes of two to four levels; one item in ten has none."""
    lengths = rng.integers(2, 5, n_items) * (rng.random(n_items) > 0.1)
    return PathCodes.of_texts(["-".join(map(str, rng.integers(0, 3, n).tolist())) or None for n in lengths.tolist()])


@pytest.fixture(scope="session")
def codes() -> Trees:
    return Trees(codes_of(np.random.default_rng(1)), codes_of(np.random.default_rng(2)), "made up")


@pytest.fixture(scope="session")
def split() -> Split:
    """Twelve users with 1 to 8 train items, user 11 without any; items 0 to 4 have no title."""
    rng = np.random.default_rng(3)
    pairs = [(user, item) for user in range(11) for item in rng.choice(N_ITEMS, 1 + user % 8, replace=False).tolist()]
    users, items = np.array(pairs).T
    train = Interactions.of(users, items, n_users=12, n_items=N_ITEMS)
    none = Interactions.of(np.array([], int), np.array([], int), n_users=12, n_items=N_ITEMS)
    vocabulary = Vocabulary([f"u{user}" for user in range(12)], [f"i{item}" for item in range(N_ITEMS)])
    titles = ["" if item < 5 else f"Title {item}" for item in range(N_ITEMS)]
    texts = pl.DataFrame({"item_id": vocabulary.item_ids, "title": titles})
    return Split(train, none, none, vocabulary, texts, pl.DataFrame())


@pytest.fixture(scope="session")
def users() -> np.ndarray:
    return np.arange(10)


@pytest.fixture(scope="session")
def candidates(split: Split, users: np.ndarray) -> np.ndarray:
    """Five unobserved items each in no order, but user 3 has three and user 4 none."""
    rng, rows = np.random.default_rng(4), []
    for user in users.tolist():
        free = np.setdiff1d(np.arange(N_ITEMS), split.train.items_of(user))
        rows.append(rng.choice(free, 5, replace=False))
    result = np.array(rows)
    result[3, 3:] = -1
    result[4] = -1
    return result


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    """Builds a session over a function; a bad reply is retried once."""
    numbers = count()
    with ExitStack() as stack:

        def build(answer: Callable[[Request], str | Reply | Refusal]) -> Session:
            store = stack.enter_context(ReplyStore(tmp_path / f"{next(numbers)}.sqlite"))
            return Session(FunctionModel(answer), store, EngineConfig(repairs=1, first_wait=0.001))

        yield build
