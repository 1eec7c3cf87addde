"""Stages in which a language model writes, over a model of rules: what lands in folders, what is asked again, what it cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.llm.function_model import FunctionModel

from hardneg import artifacts, pipeline
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.llm.engine.admission import BudgetReached
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import Request
from hardneg.llm.session import Session
from hardneg.llm.usage import Price
from hardneg.pipeline import GenerationConfig
from hardneg.sampling import mined
from hardneg.sampling.semantic import MEASURED
from hardneg.text import EstimateConfig
from hardneg.text.encoders import sentence_encoder
from hardneg.training import FitConfig
from hardneg.types import Floats

PRICE = Price(prompt=1.0, answer=2.0)


class Letters:
    """Encodes a text by how often it has each letter."""

    name = identity = "letters"

    def encode(self, texts: list[str], progress: object = None) -> Floats:
        rows = np.array([[text.lower().count(chr(97 + k)) for k in range(26)] for text in texts], np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(lengths > 0, rows / np.maximum(lengths, 1e-9), np.nan).astype(np.float32)


def writer(titles: list[str]) -> FunctionModel:
    """Writes profiles of the data it sees; names the catalogue's titles in turn, and now and then no item at all."""

    def answer(request: Request) -> str:
        said = request.messages[-1].content
        if "<item>" in said and "<user>" in said:
            number = sum(map(ord, said))
            name = "a thing that nobody sells" if number % 5 == 0 else titles[number % len(titles)]
            return json.dumps({"hard_negative_item": name, "reasoning": "close"})
        return json.dumps({"summarization": " ".join(re.findall(r"\w{5,}", said)[:8]), "reasoning": "it says so"})

    return FunctionModel(answer, name="rules")


@pytest.fixture
def session(folders: Path, tmp_path: Path) -> Iterator[Session]:
    titles = splits.read_split(folders / "split").texts["title"].to_list()
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        yield Session(writer(titles), store, price=PRICE)


@pytest.fixture
def written(folders: Path, tmp_path: Path, session: Session) -> Path:
    pipeline.generate_profiles_stage(folders / "split", session).run(tmp_path / "profiles")
    return tmp_path / "profiles"


def test_profiles_land_in_a_folder_with_their_price(folders: Path, written: Path, session: Session) -> None:
    data = splits.read_split(folders / "split")
    items = pl.read_parquet(written / "items.parquet")
    assert items["item_id"].to_list() == data.vocabulary.item_ids
    assert set(items["source"]) == {"rules"}
    assert items["profile"].str.len_chars().min() > 0
    costs = json.loads((written / "costs.json").read_text())
    assert costs["llm_calls"] == data.train.n_items + data.train.n_users == len(session.model.requests)
    money = (costs["llm_prompt_tokens"] + 2 * costs["llm_answer_tokens"]) / 1e6
    assert costs["money"] == pytest.approx(money)
    assert costs["needed"] == {
        "calls": costs["llm_calls"],
        "tokens": costs["llm_tokens"],
        "money": pytest.approx(money),
    }
    assert set(costs["estimate"]) == {"items", "users", "total"}


def test_made_again_elsewhere_it_asks_nothing_and_is_the_same(
    folders: Path, written: Path, session: Session, tmp_path: Path
) -> None:
    before = len(session.model.requests)
    pipeline.generate_profiles_stage(folders / "split", session).run(tmp_path / "again")
    assert len(session.model.requests) == before
    assert artifacts.content_hashes(tmp_path / "again") == artifacts.content_hashes(written)


@pytest.mark.parametrize("naming", ["raw", "grounded"])
def test_negatives_train_a_model_and_their_cost_follows_them(
    naming: str, folders: Path, written: Path, session: Session, tmp_path: Path
) -> None:
    options = GenerationConfig.model_validate({"use": {"naming": naming}})
    pipeline.generate_stage(folders / "split", written, session, Letters(), options).run(tmp_path / "named")
    data = splits.read_split(folders / "split")
    made = mined.read_negatives(tmp_path / "named", data.vocabulary, len(data.train))
    told = pl.read_parquet(tmp_path / "named" / "grounding.parquet")
    assert len(told) == len(data.train)
    outside = told.filter(pl.col("negative_text") == "a thing that nobody sells")
    assert 0 < len(outside) < len(told)
    assert made.present.mean() == (1.0 if naming == "raw" else told["used"].mean())
    if naming == "grounded":
        assert not outside["used"].any()
        users = data.train.users[np.nonzero(made.items[:, 0] >= 0)[0]]
        assert not data.train.contains(users, made.items[made.items[:, 0] >= 0, 0]).any()

    config = pipeline.RunConfig.model_validate(
        {"sampler": {"kind": "semantic"}, "model": {"kind": "mf"}, "fit": FitConfig(epochs=1).model_dump()}
    )
    pipeline.train_stage(folders / "split", config, negatives=tmp_path / "named").run(tmp_path / "run")
    costs = json.loads((tmp_path / "run" / "costs.json").read_text())
    assert costs["llm_calls"] == data.train.n_items + data.train.n_users + len(data.train)
    assert costs["money"] > 0
    kept = pl.read_parquet(tmp_path / "run" / "metrics.parquet").filter(pl.col("split") == "negatives")
    assert kept["metric"].to_list() == list(MEASURED)


def test_a_model_behind_an_endpoint_takes_no_closed_list(
    folders: Path, written: Path, session: Session, tmp_path: Path
) -> None:
    options = GenerationConfig.model_validate({"use": {"naming": "constrained"}})
    with pytest.raises(ConfigError, match=r"list of titles.* naming grounded"):
        pipeline.generate_stage(folders / "split", written, session, sentence_encoder(), options).run(
            tmp_path / "named"
        )


def test_the_budget_is_for_items_and_users_together(folders: Path, tmp_path: Path, session: Session) -> None:
    data = splits.read_split(folders / "split")
    most = data.train.n_items + 5
    with ReplyStore(tmp_path / "other.sqlite") as store:
        poor = Session(session.model, store, EngineConfig(budget_calls=most), PRICE)
        with pytest.raises(BudgetReached, match="of 5 calls"):
            pipeline.generate_profiles_stage(folders / "split", poor).run(tmp_path / "profiles")
        assert poor.usage.calls == most == len(poor.model.requests)
        assert not (tmp_path / "profiles").exists()
        rich = Session(session.model, store, price=PRICE)
        pipeline.generate_profiles_stage(folders / "split", rich).run(tmp_path / "profiles")
        assert rich.usage.calls == data.train.n_users - 5


def test_a_sampled_estimate_costs_nothing_twice(folders: Path, tmp_path: Path, session: Session) -> None:
    data = splits.read_split(folders / "split")
    config = EstimateConfig(sample=40)
    foretold = pipeline.estimate_llm_cost(folders / "split", session, config, generation=GenerationConfig())
    asked = len(session.model.requests)
    assert asked == foretold.sampled > 80
    pipeline.generate_profiles_stage(folders / "split", session, estimate=foretold).run(tmp_path / "profiles")
    options = GenerationConfig()
    pipeline.generate_stage(
        folders / "split", tmp_path / "profiles", session, Letters(), options, estimate=foretold
    ).run(tmp_path / "named")
    questions = [request.canonical for request in session.model.requests]
    assert len(set(questions)) == len(questions) > len(data.train)  # equal rows share a question
    off = json.loads((tmp_path / "named" / "costs.json").read_text())["estimate"]["total"]["tokens off"]
    assert abs(off) < 0.05
