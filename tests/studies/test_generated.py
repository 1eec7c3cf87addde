"""Rows of a study whose negatives a language model names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.llm.function_model import FunctionModel
from tests.llm.tiny import make_tiny
from tests.pipeline.test_generation import Letters
from tests.pipeline.test_item_generation import namer
from typer.testing import CliRunner

from hardneg import text
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import Request
from hardneg.llm.recorded import RecordingHeader, record_replies, write_recording
from hardneg.studies import Study
from hardneg.studies.recipes import language_model
from hardneg.text import text_vectors

from .conftest import STUDY, Write, results_of

MF = {"MF": STUDY["models"]["MF"]}
SAMPLER = {"kind": "semantic", "allow_empty": True}
SIDES = ("users", "items")
OPEN_MODEL = language_model._open_model


@pytest.fixture
def model(folders: Path, monkeypatch: pytest.MonkeyPatch) -> FunctionModel:
    """A model of rules in the place of every model of a file."""
    made = namer(splits.read_split(folders / "split").texts["title"].to_list())
    monkeypatch.setattr(language_model, "_open_model", lambda *_: made)
    return made


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick encoder in the place of MiniLM."""
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())


def rows(**negatives: dict[str, Any]) -> dict[str, Any]:
    named = {name: {"sampler": SAMPLER, "negatives": name} for name in negatives}
    entries = {name: {"method": "generated", "llm": "rules", **entry} for name, entry in negatives.items()}
    return {"models": MF, "negatives": entries, "rows": {"uniform": STUDY["rows"]["uniform"], **named}, "seeds": 1}


def test_rows_share_the_replies_of_the_study(write_study: Write, model: FunctionModel, tmp_path: Path) -> None:
    file = write_study(
        **rows(raw={"naming": "raw", "profiles": None}, grounded={"naming": "grounded", "profiles": None})
    )
    study = Study.load(file, tmp_path / "out")
    estimate = study.estimate()
    n_items = splits.read_split(study.spec.splits["store"].folder).train.n_items
    (needed,) = estimate.replies.values()
    assert (needed.calls, needed.money) == (pytest.approx(n_items, rel=0.5), 0.0)
    assert needed.tokens_per_second is None or needed.hours is not None
    before = len(model.requests)
    results = results_of(study)
    assert not results.failed
    costs = [
        json.loads((tmp_path / "out/shared/store" / f"negatives-{name}" / "costs.json").read_text())
        for name in ("raw", "grounded")
    ]
    assert costs[1]["llm_calls"] == 0
    assert costs[0]["llm_calls"] == len(model.requests) - before
    assert (tmp_path / "out" / language_model.REPLIES).is_file()
    assert all(run.finished for run in Study.load(file, tmp_path / "out").runs())
    assert not Study.load(file, tmp_path / "out").estimate().replies, "nothing is left to ask"


def test_a_dry_run_prints_calls_and_hours(write_study: Write, model: FunctionModel, tmp_path: Path) -> None:
    file = write_study(**rows(grounded={"tokens_per_second": 100, "k": 2, "profiles": None}))
    words = ["study", "run", str(file), "--out", str(tmp_path / "out"), "--dry-run", "--json"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    (needed,) = json.loads(said.stdout)["replies"].values()
    tokens = needed["prompt_tokens"] + needed["answer_tokens"]
    assert needed["hours"] == pytest.approx(tokens / 100 / 3600)
    assert not model.requests, "the rate is given: nothing is sent"
    assert not list((tmp_path / "out").rglob("manifest.json"))
    said = CliRunner().invoke(app, words[:-1])
    assert "answer tokens" in said.output


def writer(request: Request) -> str:
    """A profile that repeats the beginning of the data in the prompt."""
    shown = request.messages[-1].content[:40].replace('"', "'")
    return json.dumps({"summarization": f"people like this: {shown}", "reasoning": "the data"})


def test_rows_read_profiles_that_a_language_model_writes(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FunctionModel(writer)
    monkeypatch.setattr(language_model, "_open_model", lambda *_: model)
    written = {"method": "generated", "llm": "rules"}
    shuffled = {"method": "shuffled", "like": written}
    fusion = [
        {"weights": [2]},
        {"weights": [2], "label": "written", "profiles": written},
        {"weights": [2], "label": "written items", "profiles": written, "items": "profiles", "alone": True},
        {"weights": [2], "label": "shuffled", "profiles": shuffled, "items": "profiles"},
    ]
    mixing = {"sampler": {"kind": "semantic-mixing", "sampler": {"kind": "dns"}}, "negatives": "near"}
    file = write_study(
        models=MF,
        negatives={"near": {"method": "neighbours", "profiles": written | {"options": {"users": False}}}},
        rows={"uniform": STUDY["rows"]["uniform"] | {"fusion": fusion}, "mixing": mixing},
        seeds=1,
    )
    study = Study.load(file, tmp_path / "out")
    n_users, n_items = (len(pl.read_parquet(study.spec.splits["store"].folder / f"{kind}.parquet")) for kind in SIDES)
    needed = study.estimate().replies
    assert sorted(estimate.calls for estimate in needed.values()) == [n_items, n_items + n_users]
    results = results_of(study)
    assert not results.failed
    lines = {cell.line for cell in study.cells}
    assert {"uniform + text", "uniform + written", "uniform + written items", "written items only"} < lines
    shared = tmp_path / "out/shared/store"
    assert len(model.requests) == n_items + n_users, "the profiles of neighbours are the same replies"
    tables = {path.name: text_vectors.read_text_vectors(path) for path in shared.glob("vectors-*")}
    assert len(tables) == 4
    own, mixed = (tables[f"vectors-minilm-by-rules{end}-item-profiles"].items for end in ("", "-shuffled-0"))
    assert not np.array_equal(own, mixed)
    np.testing.assert_array_equal(np.sort(own, axis=0), np.sort(mixed, axis=0))
    assert "function profiles" in json.loads((shared / "negatives-near/manifest.json").read_text())["notes"]["source"]


def test_neighbours_without_text_read_no_profiles(write_study: Write) -> None:
    entries = {"near": {"method": "neighbours", "by": "random", "profiles": {}}}
    with pytest.raises(ConfigError, match="found profiles for neighbours by random"):
        Study.load(write_study(negatives=entries))


def test_an_ordinary_model_names_titles_of_the_catalogue(write_study: Write, tmp_path: Path) -> None:
    entry = {"llm": str(make_tiny(tmp_path / "tiny")), "naming": "constrained", "k": 2, "profiles": None}
    study = Study.load(write_study(**rows(constrained=entry)), tmp_path / "out")
    assert not results_of(study).failed
    named = pl.read_parquet(tmp_path / "out/shared/store/negatives-constrained/named.parquet")
    assert set(named["how"]) == {"exact"}
    assert named.group_by("item_id").len()["len"].to_list() == [2] * named["item_id"].n_unique()
    assert (named["item_id"] != named["named_item_id"]).all()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"per": "pair", "k": 2}, "found k 2 for negatives per pair"),
        ({"per": "pair", "profiles": None}, "found no profiles for negatives per pair"),
        ({"k": 7}, "k"),
        ({"suspects": "x"}, "found suspects 'x', expected a name"),
    ],
)
def test_problems_are_reported_before_anything_runs(write_study: Write, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Study.load(write_study(**rows(named=entry)))


def test_recorded_replies_take_the_place_of_their_model(
    write_study: Write, model: FunctionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results_of(Study.load(write_study(**rows(named={"profiles": None})), tmp_path / "asked"))
    header = RecordingHeader(
        model="rules", identity=model.identity, prompts={}, date="2026-01-01", versions={}, licence="none", command="x"
    )
    with ReplyStore(tmp_path / "asked" / language_model.REPLIES) as store:
        recording = record_replies(store, store.known(), header)
    write_recording(tmp_path / "rules.jsonl.gz", recording)
    monkeypatch.setattr(language_model, "_open_model", OPEN_MODEL)
    file = write_study(**rows(named={"profiles": None, "llm": f"recorded:{tmp_path / 'rules.jsonl.gz'}"}))
    study = Study.load(file, tmp_path / "recorded")
    assert study.plan.estimate_replies(study.cells), "calls are counted, and nothing is timed"
    before = len(model.requests)
    assert not results_of(study).failed
    assert len(model.requests) == before
    named = [
        pl.read_parquet(tmp_path / out / "shared/store/negatives-named/named.parquet") for out in ("asked", "recorded")
    ]
    assert named[0].equals(named[1])
    with pytest.raises(ConfigError, match="install the package again, or give --llm NAME"):
        Study.load(write_study(**rows(named={"llm": "recorded:missing.jsonl.gz"})))
