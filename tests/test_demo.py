"""The demo, small; and what its semantic rows may not do on misleading text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg import demo, pipeline, studies
from hardneg.data import simulate
from hardneg.evaluation import compare_methods
from hardneg.mining import RetrievalConfig
from hardneg.models import LightGCN
from hardneg.pipeline import RunConfig, simulate_stage
from hardneg.sampling import Semantic
from hardneg.text import sentence_encoder
from hardneg.training import FitConfig

SMALL = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, demo.Demo]:
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(simulate.PRESETS, "informative", SMALL)
        patch.setattr(demo, "FIT", FitConfig(epochs=4, check_every=2, select="ndcg@20"))
        return out, demo.run_demo(out, seeds=3, workers=1)


def test_the_table_has_every_sampler_the_control_and_every_column(made: tuple[Path, demo.Demo]) -> None:
    _, found = made
    names = found.frame["row"].to_list()
    assert {"uniform", "DNS", "MixGCF", demo.SEMANTIC, demo.CONTROL} <= set(names)
    for column in ("ndcg@20", "ndcg@20 sd", "recall@20", "low", "high", "p_holm", "seconds", "false_negatives"):
        assert column in found.frame.columns
    assert found.frame["ndcg@20"].is_between(0.01, 0.9).all()
    assert found.frame["false_negatives"].is_between(0.01, 0.9).all()


def test_the_page_shows_table_users_profiles_and_who_wrote_what(made: tuple[Path, demo.Demo]) -> None:
    out, _ = made
    text = (out / "report.html").read_text(encoding="utf-8")
    for word in (
        "semantic (retrieved, MiniLM)",
        "No language model is used",
        "Likes: ",
        "false negatives",
        "<svg",
    ):
        assert word in text
    assert (out / "table.md").read_text(encoding="utf-8").count("\n") == 9


def test_the_second_time_nothing_is_trained(made: tuple[Path, demo.Demo], monkeypatch: pytest.MonkeyPatch) -> None:
    out, found = made
    monkeypatch.setitem(simulate.PRESETS, "informative", SMALL)
    monkeypatch.setattr(demo, "FIT", FitConfig(epochs=4, check_every=2, select="ndcg@20"))

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be trained")

    monkeypatch.setattr("hardneg.pipeline.training.fit_backbone", forbidden)
    assert demo.run_demo(out, seeds=3, workers=1).frame.equals(found.frame)


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
    """The committed preset, the packaged encoder, three seeds: text that says nothing must gain nothing."""
    out = tmp_path_factory.getbasetemp() / "misleading"
    if not out.exists():
        simulate_stage(simulate.PRESETS["misleading"]).run(out / "dataset")
        pipeline.split_stage(out / "dataset", demo.SPLIT).run(out / "split")
        pipeline.extract_profiles_stage(out / "split").run(out / "profiles")
        pipeline.retrieve_stage(out / "split", out / "profiles", RetrievalConfig(), sentence_encoder()).run(
            out / "text"
        )
        pipeline.random_negatives_stage(out / "split", out / "text", seed=0).run(out / "random")
    fit = demo.FIT.model_copy(update={"epochs": 21})
    config = RunConfig(
        model=LightGCN(embedding_size=32, hops=1),
        sampler=Semantic(hidden_size=demo.PROJECTOR, match_norm=match_norm),
        fit=fit,
    )
    rows = [studies.Row(f"{name} {match_norm}", config, {"negatives": out / name}) for name in ("text", "random")]
    text, control = studies.run_rows(out / "split", rows, range(3), out / "runs")
    for metric in demo.METRICS:
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
