"""The explorer's data: ranks and best items against a slow loop, limits, and why negatives were drawn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg import pipeline
from hardneg.data.split import read_split
from hardneg.errors import ConfigError
from hardneg.models import MF
from hardneg.pipeline import RunConfig, explorer
from hardneg.pipeline.explorer import explore_split
from hardneg.pipeline.inference import find_run_split
from hardneg.sampling import Semantic, mined
from hardneg.stage import Draft, Stage
from hardneg.training import FitConfig


@pytest.fixture(scope="module")
def runs(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs: uniform, and semantic with negatives that tell a text for every pair."""
    root, split = tmp_path_factory.mktemp("explorer"), folders / "split"
    fit = FitConfig(epochs=2, check_every=1)
    config = RunConfig(model=MF(embedding_size=8), fit=fit)
    pipeline.train_stage(split, config).run(root / "uniform")
    pipeline.extract_profiles_stage(split).run(root / "profiles")
    write_negatives(split, root / "negatives")
    semantic = RunConfig(model=MF(embedding_size=8), sampler=Semantic(hidden_size=8), fit=fit)
    pipeline.train_stage(split, semantic, negatives=root / "negatives").run(root / "semantic")
    return {"uniform": root / "uniform", "semantic": root / "semantic"}


def write_negatives(split_dir: Path, out: Path) -> None:
    split = read_split(split_dir)
    rng, train = np.random.default_rng(0), split.train
    items = np.array([next(i for i in range(train.n_items) if i not in train.items_of(int(u))) for u in train.users])
    ids = split.vocabulary
    rows = [
        (row, ids.user_ids[u], ids.item_ids[p], f"text {i}", ids.item_ids[i], 0.5, "", "test")
        for row, (u, p, i) in enumerate(zip(train.users, train.items, items, strict=True))
    ]
    table = pl.DataFrame(rows, schema=mined.SCHEMA, orient="row")
    inputs = {"training data": pipeline.run_inputs(split_dir)["training data"]}

    def build(draft: Draft) -> None:
        vectors = rng.normal(size=(len(rows), 4)).astype(np.float16)
        mined.write_negatives(draft, mined.MinedNegatives(items[:, None], vectors, "test"), table)

    Stage(mined.KIND, {}, inputs, build).run(out)


def slow_ranks(run_dir: Path, user: int) -> Iterator[tuple[int, int]]:
    """Yield item and rank of all items outside the train items, from the best one."""
    run = pipeline.read_run(run_dir)
    scores = run.score()(np.array([user]))[0].tolist()
    others = [item for item in range(len(scores)) if item not in run.seen.items_of(user)]
    for rank, item in enumerate(sorted(others, key=lambda item: (-scores[item], item)), start=1):
        yield item, rank


def test_ranks_and_best_items_are_those_of_a_slow_loop(folders: Path, runs: dict[str, Path]) -> None:
    split, data = read_split(folders / "split"), explore_split("store", folders / "split", runs)
    ids = [item_id for item_id, _ in data["items"]]
    assert data["runs"] == ["uniform", "semantic"]
    for user in data["users"][:20]:
        number = split.vocabulary.users[user["id"]]
        held = [split.vocabulary.item_ids[item] for item in split.test.items_of(number)]
        assert [ids[item] for item in user["held"]] == held
        assert user["n_history"] == len(split.train.items_of(number))
        for run, folder in enumerate(runs.values()):
            ranks = {split.vocabulary.item_ids[item]: rank for item, rank in slow_ranks(folder, number)}
            assert user["ranks"][run] == [ranks[item] for item in held]
            assert [ranks[ids[item]] for item in user["top"][run]] == list(range(1, 11))


def test_negatives_tell_why_and_profiles_are_shown(folders: Path, runs: dict[str, Path]) -> None:
    root = runs["semantic"].parent
    data = explore_split("store", folders / "split", runs, [root / "profiles", root / "negatives"])
    with_draws = [user for user in data["users"] if user["draws"]]
    assert len(with_draws) == 3
    assert with_draws == data["users"][:3]
    texts = [text for _, text, _ in with_draws[0]["draws"]["1"]]
    assert any("“text" in text and "similarity 0.50" in text for text in texts)
    assert all(text == "item" for _, text, _ in with_draws[0]["draws"]["0"])
    assert all(user["profile"] for user in with_draws)
    assert "Profiles: profiles" in data["note"]


def test_users_and_runs_are_capped_and_the_page_says_so(
    folders: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "MOST_USERS", 10)
    monkeypatch.setattr(explorer, "MOST_RUNS", 1)
    data = explore_split("store", folders / "split", runs)
    assert len({user["id"] for user in data["users"]}) == 10
    assert data["runs"] == ["uniform"]
    assert data["note"].startswith("10 of ")
    assert "1 of 2 runs" in data["note"]


def test_a_missing_split_and_another_one_are_named(folders: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    assert find_run_split(runs["uniform"]) == (folders / "split").resolve()
    with pytest.raises(ConfigError, match="is not there"):
        find_run_split(runs["uniform"], tmp_path / "none")
    shutil.copytree(folders / "dataset", tmp_path / "dataset")
    pipeline.split_stage(tmp_path / "dataset", pipeline.data.SplitConfig(seed=9)).run(tmp_path / "other")
    with pytest.raises(ConfigError, match="was not trained on"):
        find_run_split(runs["uniform"], tmp_path / "other")
