"""A store that lists every product twice: nothing offers a user what they have under another id."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.diagnostics.test_leakage import WordCounts

from hardneg import artifacts, pipeline
from hardneg.config import parse_config
from hardneg.data import Dataset, FilterConfig, Interactions, Split, SplitConfig
from hardneg.data import split as splits
from hardneg.data.dataset import KIND, write_dataset
from hardneg.data.products import UNDER_ANOTHER_ID
from hardneg.errors import ConfigError, DataError
from hardneg.judging import suspects
from hardneg.mining import RetrievalConfig
from hardneg.mining.generated import GeneratedConfig, ground_texts, tabulate_generated
from hardneg.models import MF
from hardneg.pipeline import FusionConfig, RunConfig, SuspectInputs, SuspectsConfig
from hardneg.stage import Stage
from hardneg.text.generation.negative_generation import SCHEMA
from hardneg.text.grounding import GroundingConfig, TitleIndex
from hardneg.training import FitConfig

N_USERS, N_PRODUCTS = 24, 20
ADJECTIVES, NOUNS = ("red", "steel", "folding", "light", "wide"), ("kettle", "tent", "stove", "lamp")
NAMES = [f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Item a3 is "wide tent", item b3 "Wide  Tent!"; a user has one id of a product at most."""
    root, rng = tmp_path_factory.mktemp("twins"), np.random.default_rng(0)
    pairs = [
        (f"u{user}", f"{rng.choice(['a', 'b'])}{product}")
        for user in range(N_USERS)
        for product in rng.choice(N_PRODUCTS, 8, replace=False).tolist()
    ]
    titles = [(f"a{n}", name) for n, name in enumerate(NAMES)]
    titles += [(f"b{n}", f"{name.title().replace(' ', '  ')}!") for n, name in enumerate(NAMES)]
    dataset = Dataset(
        pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"),
        pl.DataFrame(titles, schema=["item_id", "title"], orient="row"),
    )
    Stage(KIND, {}, {}, lambda draft: write_dataset(draft, dataset)).run(root / "data")
    pipeline.split_stage(root / "data", SplitConfig(train=0.6, valid=0.2, test=0.2)).run(root / "split")
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=1))
    pipeline.train_stage(root / "split", config).run(root / "run")
    pipeline.extract_profiles_stage(root / "split").run(root / "profiles")
    pipeline.encode_texts_stage(root / "split", root / "profiles", WordCounts()).run(root / "vectors")
    return root


@pytest.fixture(scope="module")
def split(root: Path) -> Split:
    return splits.read_split(root / "split")


def products(split: Split, part: Interactions) -> set[tuple[str, str]]:
    """Return (user_id, product) of pairs; ids of a product differ in the first letter."""
    ids = split.vocabulary
    return {(ids.user_ids[user], ids.item_ids[item][1:]) for user, item in zip(part.users, part.items, strict=True)}


def offered(table: pl.DataFrame) -> set[tuple[str, str]]:
    assert len(table)
    return {(user, item[1:]) for user, item in table.select("user_id", "item_id").drop_nulls().rows()}


def retrieve(root: Path, out: Path) -> pl.DataFrame:
    pipeline.retrieve_stage(root / "split", root / "profiles", RetrievalConfig(n=3), WordCounts()).run(out)
    rejected = pl.read_parquet(out / "rejected.parquet").filter(reason=UNDER_ANOTHER_ID)
    notes = artifacts.read_manifest(out, "negatives")["notes"]
    assert notes["rejected"][UNDER_ANOTHER_ID] == len(rejected) > 0
    return pl.read_parquet(out / "negatives.parquet")


def ground(root: Path, out: Path) -> pl.DataFrame:
    """Every title of the catalogue as a text for some pair."""
    split = splits.read_split(root / "split")
    rows = [(row, 0, f"The {NAMES[row % N_PRODUCTS]}", "", "") for row in range(len(split.train))]
    texts = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    names = TitleIndex.of(split.texts["title"].to_list())
    grounded = ground_texts(texts, names, split, WordCounts(), GroundingConfig(history=1))
    vectors = WordCounts().encode(split.texts["title"].to_list())
    made = tabulate_generated(texts, grounded, split, GeneratedConfig(naming="grounded"), "test", vectors)
    assert UNDER_ANOTHER_ID in made.rejected["reason"].to_list()
    assert set(made.grounding.filter(reason=UNDER_ANOTHER_ID)["flag"]) == {"already chosen"}
    return made.table


def judge(root: Path, out: Path) -> pl.DataFrame:
    config: SuspectsConfig = parse_config(SuspectsConfig, {"judge": {"kind": "all"}, "candidates": 12}, where="test")
    pipeline.suspects_stage(root / "split", SuspectInputs(root / "run"), config).run(out)
    rejected = pl.read_parquet(out / "rejected.parquet")
    assert set(rejected["reason"]) == {UNDER_ANOTHER_ID}
    (issue,) = artifacts.read_manifest(out, suspects.KIND)["notes"]["rows left out"]
    assert (issue["reason"], issue["count"]) == (UNDER_ANOTHER_ID, len(rejected))
    return pl.read_parquet(out / "suspects.parquet")


def judge_recorded(root: Path, out: Path) -> pl.DataFrame:
    """Labels for every user and item."""
    split = splits.read_split(root / "split")
    users, items = (
        pl.DataFrame({name: ids})
        for name, ids in zip(
            ("user_id", "item_id"), (split.vocabulary.user_ids, split.vocabulary.item_ids), strict=True
        )
    )
    users.join(items, how="cross").with_columns(label=1.0).write_csv(out.with_suffix(".csv"))
    judge = {"kind": "recorded", "labels": str(out.with_suffix(".csv"))}
    config: SuspectsConfig = parse_config(SuspectsConfig, {"judge": judge}, where="test")
    pipeline.suspects_stage(root / "split", SuspectInputs(), config).run(out)
    n_twins = len(split.owned) - len(split.train)
    reasons = pl.read_parquet(out / "rejected.parquet")["reason"]
    assert reasons.str.contains(UNDER_ANOTHER_ID).sum() == n_twins > 0
    return pl.read_parquet(out / "suspects.parquet")


PATHS = {"retrieval": retrieve, "grounding": ground, "judge": judge, "recorded judge": judge_recorded}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_no_twin_of_a_train_item_is_offered(path: Any, root: Path, split: Split, tmp_path: Path) -> None:
    assert not offered(path(root, tmp_path / "out")) & products(split, split.train)


def test_a_shuffled_control_counts_what_users_have(root: Path, split: Split, tmp_path: Path) -> None:
    table = retrieve(root, tmp_path / "out")
    out = pipeline.shuffled_negatives_stage(root / "split", tmp_path / "out", 0).run(tmp_path / "shuffled")
    shuffled = pl.read_parquet(out / "negatives.parquet")
    assert len(shuffled) == len(table)
    owned = products(split, split.train)
    n_owned = sum((user, item[1:]) in owned for user, item in shuffled.select("user_id", "item_id").rows())
    assert artifacts.read_manifest(out, "negatives")["notes"]["items that the user has, under any id"] == n_owned > 0


def fused(root: Path, out: Path) -> Path:
    return pipeline.fuse_stage(root / "run", root / "split", root / "vectors", FusionConfig()).run(out)


def text_only(root: Path, out: Path) -> Path:
    return pipeline.text_only_stage(root / "split", root / "vectors", FusionConfig()).run(out)


def trained(root: Path, out: Path) -> Path:
    return root / "run"


@pytest.mark.parametrize("make", [trained, fused, text_only])
def test_recommendations_hold_nothing_that_is_known_to_be_owned(
    make: Any, root: Path, split: Split, tmp_path: Path
) -> None:
    run, users = make(root, tmp_path / "out"), split.vocabulary.user_ids
    known = set.union(*(products(split, part) for part in (split.train, split.valid, split.test)))
    table = pipeline.recommend(run, users, 40)
    assert table.columns == ["user_id", "rank", "item_id", "title", "score"]
    assert not offered(table) & known
    n_known = {user: sum(owner == user for owner, _ in known) for user in users}
    assert dict(table.group_by("user_id").len().rows()) == {
        u: len(split.texts) - 2 * n_known[u] + missing(split, u) for u in users
    }
    titles = dict(split.texts.select("item_id", "title").rows())
    assert all(titles[item] == title for item, title in table.select("item_id", "title").rows())
    best = pipeline.make_recommendations(run, users, 40)
    assert best.masked == sum(map(len, (split.train, split.valid, split.test)))
    assert best.masked + best.other_ids + len(table) == len(users) * len(split.texts)


def missing(split: Split, user: str) -> int:
    """Number of ids of known products that are not in the catalogue of the split."""
    known = set.union(*(products(split, part) for part in (split.train, split.valid, split.test)))
    ids = set(split.vocabulary.item_ids)
    return sum(f"{letter}{product}" not in ids for owner, product in known if owner == user for letter in "ab")


def test_the_mask_of_train_pairs_is_that_of_evaluation(root: Path, split: Split, tmp_path: Path) -> None:
    users = split.vocabulary.user_ids
    best = pipeline.make_recommendations(root / "run", users, 40, "train")
    assert (best.masked, best.other_ids) == (len(split.train), 0)
    assert len(best.table) == len(users) * len(split.texts) - len(split.train)
    assert offered(best.table) & products(split, split.test)


def test_users_keep_their_order_and_unknown_ones_are_named(root: Path, split: Split) -> None:
    best = pipeline.make_recommendations(root / "run", ["u5", "nobody", "u2", "u5", "none"], 2)
    assert best.table["user_id"].to_list() == ["u5", "u5", "u2", "u2"]
    assert best.table["rank"].to_list() == [1, 2, 1, 2]
    assert best.unknown == ("nobody", "none")
    with pytest.raises(DataError, match=f"no user 'nobody'; expected one of its {len(split.vocabulary.user_ids)}"):
        pipeline.recommend(root / "run", "nobody", 2)


def test_blocks_of_users_do_not_show(root: Path, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    users = split.vocabulary.user_ids
    whole = pipeline.recommend(root / "run", users, 5)
    monkeypatch.setattr("hardneg.pipeline.recommendation.BLOCK", 5)
    assert pipeline.recommend(root / "run", users, 5).equals(whole)


def test_a_run_without_its_split_asks_for_it(root: Path, split: Split, tmp_path: Path) -> None:
    """The run holds no held-out pairs, so it must find them or say what it cannot mask."""
    shutil.copytree(root / "split", tmp_path / "split")
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=1))
    run = pipeline.train_stage(tmp_path / "split", config).run(tmp_path / "run")
    whole = pipeline.recommend(run, "u1", 3)
    (tmp_path / "split").rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="--split"):
        pipeline.recommend(run, "u1", 3)
    assert pipeline.recommend(run, "u1", 3, split_dir=tmp_path / "moved").equals(whole)
    assert len(pipeline.recommend(run, "u1", 3, "train")) == 3
    pipeline.split_stage(root / "data", SplitConfig(seed=5)).run(tmp_path / "other")
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.recommend(run, "u1", 3, split_dir=tmp_path / "other")


def test_what_a_filter_left_out_is_known_as_well(tmp_path: Path) -> None:
    """A purchase with a low rating is in no part of the split, and is not recommended again."""
    rng, rows = np.random.default_rng(1), []
    for user in range(20):
        rows += [(f"u{user}", f"i{item}", float(rng.integers(1, 6))) for item in rng.choice(15, 8, replace=False)]
    dataset = Dataset(
        pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row"),
        pl.DataFrame({"item_id": [f"i{item}" for item in range(15)]}),
    )
    Stage(KIND, {}, {}, lambda draft: write_dataset(draft, dataset)).run(tmp_path / "data")
    config = SplitConfig(train=0.6, valid=0.2, test=0.2, filters=FilterConfig(min_rating=3))
    split = splits.read_split(pipeline.split_stage(tmp_path / "data", config).run(tmp_path / "split"))
    users, items = split.vocabulary.user_ids, split.vocabulary.item_ids
    bought = {(user, item) for user, item, _ in rows if user in users and item in items}
    assert {(users[u], items[i]) for u, i in zip(split.known.users, split.known.items, strict=True)} == bought
    assert artifacts.read_manifest(tmp_path / "split", splits.KIND)["notes"]["known pairs in no part"] > 0
    run = RunConfig(model=MF(embedding_size=4), fit=FitConfig(epochs=1, check_every=1))
    pipeline.train_stage(tmp_path / "split", run).run(tmp_path / "run")
    table = pipeline.recommend(tmp_path / "run", users, 15)
    assert len(table) == len(users) * len(items) - len(bought)
    assert not set(table.select("user_id", "item_id").rows()) & bought
    whole = pipeline.split_stage(tmp_path / "data", SplitConfig()).run(tmp_path / "whole")
    assert not (whole / splits.LEFT_OUT).exists()
