"""Small worlds that every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may reach a network
OWN_VECTORS = "" if "HARDNEG_VECTOR_CACHE" in os.environ else tempfile.mkdtemp(prefix="hardneg-vectors-")
os.environ.setdefault("HARDNEG_VECTOR_CACHE", OWN_VECTORS)  # encoded once a session, in all of its processes
torch.set_num_threads(1)
settings.register_profile("busy", deadline=None)  # a slow moment of the machine is no fault of the code
settings.load_profile("busy")

from hardneg import pipeline  # noqa: E402
from hardneg.data import Interactions, Split, SplitConfig, make_split, simulate  # noqa: E402
from hardneg.data import split as splits  # noqa: E402
from hardneg.data.truth import Truth  # noqa: E402
from hardneg.pipeline import simulate_stage  # noqa: E402

REAL = Path(__file__).parents[2] / "shared" / "data"
SMALL = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)


def pytest_unconfigure() -> None:
    if OWN_VECTORS:
        shutil.rmtree(OWN_VECTORS, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real data need it beside the project; elsewhere they are skipped, saying so."""
    if REAL.is_dir():
        return
    for item in items:
        if "real" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="the real datasets (../shared/data) are not here"))


@pytest.fixture(scope="session")
def real() -> Path:
    return REAL


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def seen() -> Interactions:
    """Six users, twelve items; user 5 lacks a single item, user 4 has one alone."""
    rng = np.random.default_rng(3)
    users, items = np.nonzero(rng.random((6, 12)) < 0.4)
    pairs = {(u, i) for u, i in zip(users.tolist(), items.tolist(), strict=True) if u < 4}
    pairs |= {(4, 7)} | {(5, i) for i in range(12) if i != 3}
    users, items = np.array(sorted(pairs)).T
    return Interactions.of(users, items, n_users=6, n_items=12)


@pytest.fixture(scope="session")
def store() -> tuple[Split, Truth]:
    """A small simulated store, split, with its truth in the split's numbering."""
    dataset, truth = simulate.simulate_store(SMALL)
    split = make_split(dataset, SplitConfig(train=0.7, valid=0.1, test=0.2))
    return split, truth.reindex(split.vocabulary)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset/ and split/ of the small store on disk."""
    root = tmp_path_factory.mktemp("store")
    simulate_stage(SMALL).run(root / "dataset")
    pipeline.split_stage(root / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2)).run(root / "split")
    assert splits.read_split(root / "split").train.n_users > 100
    return root
