"""The demo, small; and what its semantic rows may not do on misleading text."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from record_demo import record
from tests.demo.small import MODEL, QUICK, SMALL, small_model

from hardneg import demo, pipeline, studies
from hardneg.data import simulate
from hardneg.demo import comparison, folders, language_model
from hardneg.evaluation import compare_methods
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.recorded import write_recording
from hardneg.llm.session import Session
from hardneg.mining import RetrievalConfig
from hardneg.models import LightGCN
from hardneg.pipeline import RunConfig, simulate_stage
from hardneg.sampling import Semantic
from hardneg.text import sentence_encoder
from hardneg.training import FitConfig


def run(out: Path) -> demo.Demo:
    with ReplyStore(out / "replies.sqlite") as store:
        return demo.run_demo(out, seeds=3, workers=1, session=Session(small_model(), store))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, demo.Demo]:
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simulate.PRESETS, "informative", SMALL)
        patch.setattr(comparison, "FIT", QUICK)
        return out, run(out)


def test_the_table_has_every_sampler_the_control_and_every_column(made: tuple[Path, demo.Demo]) -> None:
    _, found = made
    names = found.frame["row"].to_list()
    named = {comparison.named_row(MODEL), comparison.named_control(MODEL)}
    assert {"uniform", "DNS", "MixGCF", comparison.SEMANTIC, comparison.CONTROL} | named <= set(names)
    for column in ("ndcg@20", "ndcg@20 sd", "recall@20", "low", "high", "p_holm", "seconds", "false_negatives"):
        assert column in found.frame.columns
    assert found.frame["ndcg@20"].is_between(0.01, 0.9).all()
    assert found.frame["false_negatives"].is_between(0.01, 0.9).all()


def test_the_page_shows_table_users_profiles_and_who_wrote_what(made: tuple[Path, demo.Demo]) -> None:
    out, _ = made
    text = (out / "report.html").read_text(encoding="utf-8")
    for word in (
        "semantic (retrieved, MiniLM)",
        "What the language model wrote",
        "Neither needs a language model",
        "Likes: ",
        "false negatives",
        "<svg",
    ):
        assert word in text
    assert "&lt;b&gt;a moon boat&lt;/b&gt;" in text
    assert "<b>a moon boat" not in text
    assert (out / "table.md").read_text(encoding="utf-8").count("\n") == 11


def test_the_second_time_nothing_is_trained(made: tuple[Path, demo.Demo], monkeypatch: pytest.MonkeyPatch) -> None:
    out, found = made
    monkeypatch.setitem(simulate.PRESETS, "informative", SMALL)
    monkeypatch.setattr(comparison, "FIT", QUICK)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be trained")

    monkeypatch.setattr("hardneg.pipeline.training.fit_backbone", forbidden)
    assert run(out).frame.equals(found.frame)


def test_recorded_replies_give_what_the_model_gave(
    made: tuple[Path, demo.Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, live = made
    monkeypatch.setitem(simulate.PRESETS, "informative", SMALL)
    monkeypatch.setattr(comparison, "FIT", QUICK)
    recording = record(folders.DemoFolders(tmp_path, "informative"), small_model(), "none", "record it")
    write_recording(tmp_path / "informative.jsonl.gz", recording)
    monkeypatch.setattr(language_model, "recording_path", lambda text: tmp_path / f"{text}.jsonl.gz")
    named = folders.DemoFolders(out, "informative").named(MODEL)
    before = {path.name: path.read_bytes() for path in named.glob("*.parquet")}
    shutil.rmtree(named)
    recorded = demo.run_demo(out, seeds=3, workers=1)
    assert {path.name: path.read_bytes() for path in named.glob("*.parquet")} == before
    assert recorded.frame.equals(live.frame)
    said = f"small, {len(recording.replies):,} recorded replies of {recording.header.date}; no model was called"
    assert recorded.language_model == said
    assert said in (out / "report.html").read_text(encoding="utf-8")


def test_without_recorded_replies_the_other_rows_remain_and_it_says_what_to_do(
    made: tuple[Path, demo.Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, live = made
    monkeypatch.setitem(simulate.PRESETS, "informative", SMALL)
    monkeypatch.setattr(comparison, "FIT", QUICK)
    monkeypatch.setattr(language_model, "recording_path", lambda text: tmp_path / text)
    found = demo.run_demo(out, seeds=3, workers=1)
    assert found.frame["row"].to_list() == live.frame["row"].to_list()[:7]
    assert "record_demo.py informative --llm NAME" in found.language_model
    text = (out / "report.html").read_text(encoding="utf-8")
    assert found.language_model in text
    assert "What the language model wrote" not in text


def test_workers_give_what_one_process_gives(made: tuple[Path, demo.Demo], tmp_path: Path) -> None:
    out, _ = made
    config = RunConfig(fit=FitConfig(epochs=2, check_every=2))
    rows = [studies.Row("a", config), studies.Row("b", config.model_copy(update={"model": LightGCN(hops=1)}))]
    one, two = (
        studies.run_rows(out / "split", rows, range(2), tmp_path / str(workers), workers=workers) for workers in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert all(np.array_equal(a.values[name], b.values[name]) for name in a.values)


@pytest.mark.slow
@pytest.mark.parametrize("match_norm", [False, True])
def test_on_misleading_text_the_semantic_row_does_not_beat_its_random_control(
    tmp_path_factory: pytest.TempPathFactory, match_norm: bool
) -> None:
    """Half of the committed preset, the packaged encoder, three seeds: text that says nothing must gain nothing."""
    out = tmp_path_factory.getbasetemp() / "misleading"
    if not out.exists():
        half = simulate.PRESETS["misleading"].model_copy(update={"n_users": 1000, "n_items": 600})
        simulate_stage(half).run(out / "dataset")
        pipeline.split_stage(out / "dataset", folders.SPLIT).run(out / "split")
        pipeline.extract_profiles_stage(out / "split").run(out / "profiles")
        pipeline.retrieve_stage(out / "split", out / "profiles", RetrievalConfig(), sentence_encoder()).run(
            out / "text"
        )
        pipeline.random_negatives_stage(out / "split", out / "text", seed=0).run(out / "random")
    fit = comparison.FIT.model_copy(update={"epochs": 21})
    config = RunConfig(
        model=LightGCN(embedding_size=32, hops=1),
        sampler=Semantic(hidden_size=comparison.PROJECTOR, match_norm=match_norm),
        fit=fit,
    )
    rows = [studies.Row(f"{name} {match_norm}", config, {"negatives": out / name}) for name in ("text", "random")]
    text, control = studies.run_rows(out / "split", rows, range(3), out / "runs")
    for metric in comparison.METRICS:
        assert text.values[metric].shape == control.values[metric].shape
        found = compare_methods(text.values[metric], control.values[metric])
        assert found.low <= 0, (metric, found)


def test_presets_differ_in_text_alone() -> None:
    settings = [preset.model_dump(exclude={"text"}) for preset in simulate.PRESETS.values()]
    assert settings[0] == settings[1] == settings[2]
    assert set(simulate.PRESETS) == {preset.text for preset in simulate.PRESETS.values()}


def test_answers_come_from_the_numbers(made: tuple[Path, demo.Demo]) -> None:
    _, found = made
    questions = dict(found.answers)
    uniform = found.frame.filter(pl.col("row") == "uniform")["false_negatives"].item()
    assert f"{uniform:.1%} of the uniform ones" in questions["How many sampled negatives are false negatives?"]
