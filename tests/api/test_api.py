"""The Python API: from files to negatives, a run and recommendations, with original ids throughout."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import hardneg as hn
from hardneg.api import SplitFolder
from hardneg.cli.main import app
from hardneg.errors import ConfigError, DataError

QUICK = {"epochs": 2, "check_every": 2, "learning_rate": 0.05, "batch_size": 256}


@pytest.fixture(scope="module")
def split() -> SplitFolder:
    return hn.split(
        hn.datasets.simulate(n_users=150, n_items=100, shown=60, like_rate=0.2), "ratio", train=0.7, valid=0.1, test=0.2
    )


def test_a_table_becomes_recommendations(tmp_path: Path) -> None:
    rows = [(f"ann{user}", f"sku{(user * 7 + step) % 30}", float(step)) for user in range(40) for step in range(9)]
    pl.DataFrame(rows, schema=["customer", "sku", "time"], orient="row").write_csv(tmp_path / "sales.csv")
    items = pl.DataFrame({"sku": [f"sku{n}" for n in range(30)], "name": [f"Item {n}" for n in range(30)]})
    items.write_csv(tmp_path / "products.csv")
    shop = hn.datasets.table(
        tmp_path / "sales.csv",
        tmp_path / "products.csv",
        columns={"user_id": "customer", "item_id": "sku", "timestamp": "time"},
        item_columns={"item_id": "sku", "title": "name"},
        workspace=hn.Workspace(tmp_path / "work"),
    )
    assert (len(shop.to_polars()), len(shop.items)) == (360, 30)
    split = hn.split(shop, "leave-one-out")
    assert split.to_polars()["split"].value_counts().sort("split").rows() == [
        ("test", 40),
        ("train", 280),
        ("valid", 40),
    ]
    run = hn.fit(split, model=hn.models.MF(embedding_size=8), sampler=hn.negatives.DNS(candidates=4), **QUICK)
    best = run.recommend(["ann0", "ann3"], k=5)
    assert best.columns == ["user_id", "rank", "item_id", "title", "score"]
    assert best["user_id"].to_list() == ["ann0"] * 5 + ["ann3"] * 5
    train = split.to_polars().filter(pl.col("split") == "train")
    assert len(best.join(train, on=["user_id", "item_id"])) == 0
    scores = run.evaluate(ks=(5,))
    assert scores.columns == ["metric", "k", "value"]
    assert set(scores["k"]) == {5}
    with pytest.raises(DataError, match="nobody"):
        run.recommend("nobody")


def test_a_saved_run_is_loaded_and_accepted_by_commands(split: SplitFolder, tmp_path: Path) -> None:
    run = hn.fit(split, sampler=hn.negatives.MixGCF(candidates=4), **QUICK)
    split.save(tmp_path / "split")
    assert run.save(tmp_path / "run") == run.save(tmp_path / "run") == tmp_path / "run"
    again = hn.load_run(tmp_path / "run")
    user = split.to_polars()["user_id"][0]
    assert again.recommend(user).equals(run.recommend(user))
    with pytest.raises(ConfigError, match="without its split"):
        again.evaluate()
    assert again.evaluate(hn.load_split(tmp_path / "split")).equals(run.evaluate())
    words = ["evaluate", str(tmp_path / "run"), "--split", str(tmp_path / "split")]
    assert CliRunner().invoke(app, words).exit_code == 0
    with pytest.raises(ConfigError, match="already holds something else"):
        split.save(tmp_path / "run")


def test_a_run_goes_on_from_an_earlier_one(split: SplitFolder) -> None:
    run = hn.fit(split, **QUICK)
    longer = hn.fit(split, **QUICK | {"epochs": 4}, earlier=run)
    assert (longer.notes["epochs"], longer.notes["continued after epoch"]) == (4, 2)
    with pytest.raises(ConfigError, match="is not this run with fewer epochs"):
        hn.fit(split, **QUICK | {"epochs": 4, "seed": 1}, earlier=run)


def test_negatives_have_the_ids_of_the_source(split: SplitFolder) -> None:
    negatives = hn.negatives.retrieve(split, n=1)
    table = negatives.to_polars()
    pairs = split.to_polars().filter(pl.col("split") == "train")
    named = table.filter(pl.col("item_id").is_not_null())
    assert len(named) > 0.9 * len(pairs)
    left = named.join(pairs, left_on=["user_id", "positive_item_id"], right_on=["user_id", "item_id"], how="anti")
    assert left.is_empty()
    control = hn.negatives.random_vectors(split, negatives)
    assert control.to_polars().is_empty()
    for given in (negatives, control, hn.negatives.shuffle(split, negatives)):
        assert hn.fit(split, sampler=hn.negatives.Semantic(), negatives=given, **QUICK).notes["epochs"] == 2
    neighbours = hn.negatives.find_neighbours(split, "co-occurrence", k=5)
    sampler = hn.negatives.SemanticMixing(neighbours=5)
    assert hn.fit(split, sampler=sampler, negatives=neighbours, **QUICK).notes["neighbours by"] == "co-occurrence"


def test_trees_and_suspects(split: SplitFolder) -> None:
    run = hn.fit(split, **QUICK)
    trees = hn.negatives.build_trees(split, run)
    assert set(trees.to_polars().columns) == {"item_id", "structural", "semantic"}
    suspects = hn.negatives.identify_suspects(split, run, trees, candidates=6)
    assert suspects.to_polars().columns == ["user_id", "item_id", "probability", "judge"]
    sampler = hn.negatives.MultiView(candidates=4, alpha_s=0.2)
    trained = hn.fit(split, sampler=sampler, trees=trees, suspects=suspects.used("exclude", threshold=0.6), **QUICK)
    assert "suspects used" in trained.notes
    with pytest.raises(ConfigError, match="no use of them"):
        hn.fit(split, suspects=suspects, **QUICK)


def test_what_is_given_and_cannot_be_used_is_refused(split: SplitFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epoch"):
        hn.fit(split, epoch=2)
    with pytest.raises(ConfigError, match="size"):
        hn.split(hn.datasets.simulate(n_users=50, n_items=60, shown=20), size=0.5)
    with pytest.raises(DataError, match="does not exist"):
        hn.datasets.movielens(tmp_path / "u.data")
    with pytest.raises(DataError, match="expected a"):
        hn.load_run(split.folder)


def test_times_and_ids_are_read_as_asked(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("user_id,item_id,timestamp\na,007,05/08/2018\n")
    shop = hn.datasets.table(
        tmp_path / "sales.csv",
        time_format="day-first",
        normalise_ids="integer",
        workspace=hn.Workspace(tmp_path / "work"),
    )
    assert shop.to_polars().rows() == [("a", "7", 1533427200)]


def test_a_baseline_recommends(split: SplitFolder) -> None:
    run = hn.fit_baseline(split, hn.models.EASE(l2=30))
    assert (run.evaluate(ks=(10,))["value"] > 0).all()
    assert len(run.recommend(split.to_polars()["user_id"][0], k=3)) == 3
