"""Rows of a study whose negatives a language model names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from hardneg.studies import Study
from hardneg.studies.recipes import language_model

from .conftest import STUDY, Write, results_of

MF = {"MF": STUDY["models"]["MF"]}
SAMPLER = {"kind": "semantic", "allow_empty": True}


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
