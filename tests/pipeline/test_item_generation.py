"""The stage in which a language model names products of items: what is written, asked again and paid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.llm.function_model import FunctionModel
from tests.pipeline.test_generation import PRICE, Letters
from tests.suspect_folders import write_folder

from hardneg import artifacts, pipeline
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.judging.suspects import Suspects
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import Request
from hardneg.llm.session import Session
from hardneg.mining.item_products import NAMED, NAMED_SCHEMA
from hardneg.pipeline import GenerationConfig
from hardneg.pipeline.generation import NEAREST_PER_ITEM
from hardneg.sampling import mined
from hardneg.text import EstimateConfig


def namer(titles: list[str]) -> FunctionModel:
    """Names three titles of the catalogue by the item of the request, and nothing usable for some items."""

    def answer(request: Request) -> str:
        number = sum(map(ord, request.messages[-1].content.partition("</item>")[0]))  # the same when asked again
        if number % 7 == 0:
            return "I cannot help with that"
        places = (number * 3) % len(titles), (number * 5 + 1) % len(titles), (number * 11 + 2) % len(titles)
        keys = json.loads(request.schema)["required"]
        return json.dumps(dict(zip(keys, (titles[place] for place in places), strict=False)))

    return FunctionModel(answer, name="namer")


@pytest.fixture
def session(folders: Path, tmp_path: Path) -> Iterator[Session]:
    titles = splits.read_split(folders / "split").texts["title"].to_list()
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        yield Session(namer(titles), store, price=PRICE)


def config(naming: str) -> GenerationConfig:
    return GenerationConfig.model_validate({"per": "item", "use": {"naming": naming}})


@pytest.mark.parametrize("naming", ["raw", "grounded"])
def test_each_item_is_asked_once_and_pairs_take_one_product(
    naming: str, folders: Path, session: Session, tmp_path: Path
) -> None:
    split_dir, folder = folders / "split", tmp_path / "named"
    pipeline.generate_stage(split_dir, None, session, Letters(), config(naming)).run(folder)
    data = splits.read_split(split_dir)
    found = mined.read_negatives(folder, data.vocabulary, len(data.train))
    assert found.items.shape == (len(data.train), 1)
    taken = found.items[:, 0] >= 0
    assert taken.mean() > 0.3
    assert not data.owned.contains(data.train.users[taken], found.items[taken, 0]).any()
    named = pl.read_parquet(folder / NAMED)
    assert named.schema == NAMED_SCHEMA
    assert named["item_id"].unique().len() == data.train.n_items
    assert named["pairs"].sum() == int(found.present.sum())
    missing = named.filter(text="")
    assert set(missing["reason"]) == {
        "3 bad replies, the last: found 'I cannot help with that', expected a JSON object"
    }
    grounding = pl.read_parquet(folder / "grounding.parquet").filter("used")
    assert grounding["row"].is_unique().all()
    costs = json.loads((folder / "costs.json").read_text())
    n_titles = data.texts["title"].n_unique()
    assert n_titles <= costs["llm_calls"] - 2 * len(missing) <= data.train.n_items, "bad replies are asked again, twice"
    assert costs["needed"]["calls"] >= costs["llm_calls"]  # equal requests share a call
    assert costs["estimate"]["products"]["estimated calls"] == data.train.n_items
    notes = artifacts.read_manifest(folder, mined.KIND)["notes"]
    assert notes["user vectors"] == "mean of train items"
    assert notes["rows left out"]


def test_raw_and_grounded_share_replies_and_constrained_does_not_reach_an_endpoint(
    folders: Path, session: Session, tmp_path: Path
) -> None:
    for naming in ("raw", "grounded"):
        pipeline.generate_stage(folders / "split", None, session, Letters(), config(naming)).run(tmp_path / naming)
    calls = len(session.model.requests)
    pipeline.generate_stage(folders / "split", None, session, Letters(), config("grounded")).run(tmp_path / "again")
    assert (
        len(session.model.requests) == calls == json.loads((tmp_path / "raw" / "costs.json").read_text())["llm_calls"]
    )
    with pytest.raises(ConfigError, match="cannot be constrained"):
        pipeline.generate_stage(folders / "split", None, session, Letters(), config("constrained")).run(tmp_path / "c")


def test_grounded_products_have_a_threshold_of_their_own() -> None:
    assert config("grounded").item_use.grounding.nearest == NEAREST_PER_ITEM
    assert config("raw").item_use == config("raw").use
    grounding = {"naming": "grounded", "grounding": {"nearest": 0.85}}
    chosen = GenerationConfig.model_validate({"use": grounding}).replaced(per="item")
    assert chosen.item_use == chosen.use
    assert GenerationConfig().replaced(per="item", naming="grounded").item_use == config("grounded").item_use


def test_suspects_of_a_user_are_not_taken(folders: Path, session: Session, tmp_path: Path) -> None:
    split_dir = folders / "split"
    data = splits.read_split(split_dir)
    pipeline.generate_stage(split_dir, None, session, Letters(), config("grounded")).run(tmp_path / "free")
    free = mined.read_negatives(tmp_path / "free", data.vocabulary, len(data.train)).items[:, 0]
    users, items = np.unique(np.stack([data.train.users, free])[:, free >= 0], axis=1)
    judged = write_folder(tmp_path / "suspects", split_dir, Suspects(users, items, np.ones(len(users)), "made up"))
    stage = pipeline.generate_stage(split_dir, None, session, Letters(), config("grounded"), suspects_dir=judged)
    stage.run(tmp_path / "judged")
    taken = mined.read_negatives(tmp_path / "judged", data.vocabulary, len(data.train)).items[:, 0]
    flagged = {*zip(users.tolist(), items.tolist(), strict=True)}
    assert not flagged & {*zip(data.train.users[taken >= 0].tolist(), taken[taken >= 0].tolist(), strict=True)}
    assert "suspects" in artifacts.read_manifest(tmp_path / "judged", mined.KIND)["inputs"]


def test_profiles_give_the_users_vectors(folders: Path, session: Session, tmp_path: Path) -> None:
    profiles = pipeline.extract_profiles_stage(folders / "split").run(tmp_path / "profiles")
    pipeline.generate_stage(folders / "split", profiles, session, Letters(), config("grounded")).run(tmp_path / "named")
    manifest = artifacts.read_manifest(tmp_path / "named", mined.KIND)
    assert manifest["notes"]["user vectors"] == "profiles"
    assert "profiles" in manifest["inputs"]


def test_the_estimate_has_one_stage_and_a_sample_costs_nothing_twice(
    folders: Path, session: Session, tmp_path: Path
) -> None:
    n_items = splits.read_split(folders / "split").train.n_items
    cost = pipeline.estimate_llm_cost(
        folders / "split", session, EstimateConfig(sample=5), generation=config("grounded")
    )
    assert [stage.name for stage in cost.stages] == ["products"]
    assert cost.total.rows == n_items
    assert cost.sampled >= 5
    sampled = session.usage.calls
    pipeline.generate_stage(folders / "split", None, session, Letters(), config("grounded")).run(tmp_path / "named")
    used = json.loads((tmp_path / "named" / "costs.json").read_text())["whole"]["products"]["calls"]
    assert len(session.model.requests) == session.usage.calls
    assert sampled < session.usage.calls <= used, "equal items share a call"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per": "pair", "k": 2}, "found k 2 for negatives per pair"),
        ({"per": "item", "k": 9}, "items.k"),
    ],
)
def test_settings_without_effect_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerationConfig().replaced(**changes)


def test_pairs_need_profiles_and_take_no_suspects(folders: Path, session: Session, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no profiles"):
        pipeline.generate_stage(folders / "split", None, session, Letters(), GenerationConfig())
    with pytest.raises(ConfigError, match="found suspects for negatives per pair"):
        pipeline.generate_stage(
            folders / "split", tmp_path, session, Letters(), GenerationConfig(), suspects_dir=tmp_path
        )
