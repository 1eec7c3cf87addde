"""A search: equal budgets, the same suggestions after a kill, validation alone, and a study with its settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError, DamagedError
from hardneg.stage import Stage
from hardneg.studies import Search, Study, estimate
from hardneg.studies.spec import Choices, Range
from hardneg.studies.trials import RANDOM_TRIALS, Trial, Tried, spread, suggest
from hardneg.studies.tuned_settings import NAME, read_tuned_settings

from .conftest import SEARCH, STUDY, Write, results_of

SPACE = {"fit.l2": Range(low=1e-6, high=1e-1, log=True), "sampler.candidates": Choices(choices=(4, 8, 16))}
GIVEN = {"fit.l2": 1e-4, "sampler.candidates": 10}


def replayed(n: int, tried: list[Tried]) -> dict[str, object]:
    return dict(suggest(SPACE, GIVEN, tried[:n], seed=3, purpose="a"))


def test_a_replay_repeats_the_suggestions() -> None:
    tried: list[Tried] = [(GIVEN, 0.1)]  # 10 candidates lie outside the space
    for n in range(1, 12):
        settings = suggest(SPACE, GIVEN, tried, seed=3, purpose="a")
        tried.append((settings, None if n == 6 else 1 / (1 + n)))
    assert [replayed(n, tried) for n in range(1, 12)] == [settings for settings, _ in tried[1:]]
    assert len({tuple(settings.values()) for settings, _ in tried}) == 12
    assert all(1e-6 <= float(settings["fit.l2"]) <= 0.1 for settings, _ in tried)
    other = suggest(SPACE, GIVEN, tried[:8], seed=4, purpose="a")
    assert other != tried[8][0]


def test_suggestions_follow_results_after_the_first_trials() -> None:
    rising = [({"fit.l2": 10**-e, "sampler.candidates": 8}, float(-e)) for e in (1, 2, 3, 4, 5, 6)]
    falling = [(settings, -float(value or 0)) for settings, value in rising]
    high, low = (
        [float(suggest(SPACE, GIVEN, tried, seed=s, purpose="a")["fit.l2"]) for s in range(10)]
        for tried in (rising, falling)
    )
    assert sum(high) > sum(low)


def test_whole_numbers_stay_whole() -> None:
    space = {"sampler.candidates": Range(low=2, high=64, log=True)}
    found = [suggest(space, {"sampler.candidates": 4}, [], seed=s, purpose="a")["sampler.candidates"] for s in range(5)]
    assert all(type(value) is int for value in found)


@pytest.mark.parametrize("seed", [0, 7])
def test_first_trials_fall_into_every_part_of_every_range(seed: int) -> None:
    space = SPACE | {
        "sampler.neighbours": Range(low=1, high=8),
        "fit.epochs": Range(low=1, high=10_000, log=True),
        "sampler.alpha": Choices(choices=(0.1, 0.2, 0.3, 0.4)),
    }
    given = GIVEN | {"sampler.neighbours": 3, "fit.epochs": 10, "sampler.alpha": 0.5}
    made = [spread(space, given, number, seed=seed) for number in range(1, RANDOM_TRIALS)]
    assert sorted(int(np.log10(float(one["fit.l2"]) / 1e-6) / 5 * 4) for one in made) == [0, 1, 2, 3]
    assert sorted((int(one["sampler.neighbours"]) - 1) // 2 for one in made) == [0, 1, 2, 3]
    assert sorted(int(np.log10(float(one["fit.epochs"]))) for one in made) == [0, 1, 2, 3]
    assert sorted(one["sampler.alpha"] for one in made) == [0.1, 0.2, 0.3, 0.4]
    assert all(type(one["sampler.neighbours"]) is int for one in made)
    alone = [spread({"fit.l2": SPACE["fit.l2"]}, GIVEN, number, seed=seed) for number in range(1, RANDOM_TRIALS)]
    assert [one["fit.l2"] for one in alone] == [one["fit.l2"] for one in made]  # whatever else a row searches
    assert made != [spread(space, given, number, seed=seed + 1) for number in range(1, RANDOM_TRIALS)]


def test_first_trials_stay_inside_and_space_choices_evenly() -> None:
    for seed in range(40):
        for n in (2, 3, 5):
            space = {"sampler.alpha": Choices(choices=tuple(range(n))), "sampler.n": Range(low=1.5, high=8.5)}
            made = [spread(space, {"sampler.alpha": 0, "sampler.n": 2}, k, seed=seed) for k in range(1, RANDOM_TRIALS)]
            assert sorted(one["sampler.alpha"] for one in made) == [int((k + 0.5) / 4 * n) for k in range(4)]
            assert all(1 <= int(one["sampler.n"]) <= 8 for one in made)


@pytest.mark.parametrize("row", ["uniform", "DNS", "MixGCF"])
def test_a_finished_search_with_separate_draws_is_drawn_again(row: str) -> None:
    stored = Path(__file__).parents[2] / "studies" / "results" / "main-search" / "trials.parquet"
    cell = (pl.col("split") == "sports") & (pl.col("model") == "MF") & (pl.col("row") == row)
    trials = list(pl.read_parquet(stored).filter(cell).sort("trial").iter_rows(named=True))
    tried = [(json.loads(trial["settings"]), trial["value"]) for trial in trials]
    space = {
        "fit.learning_rate": Range(low=2e-3, high=1e-2, log=True),
        "fit.l2": Range(low=1e-5, high=1e-1, log=True),
        "sampler.candidates": Choices(choices=(4, 8, 16, 32)),
    }
    space = {field: entry for field, entry in space.items() if field in tried[0][0]}
    assert len(tried) == 5
    for n in range(1, 5):
        found = suggest(space, tried[0][0], tried[:n], seed=100, purpose=f"search sports / MF / {row}")
        assert found == pytest.approx(tried[n][0])


def test_rows_try_the_same_values_first_unless_they_are_drawn_separately(write_search: Write, tmp_path: Path) -> None:
    first = {}
    for how in ("alike", "apart"):
        tasks = Search.load(write_search(first_trials=how), tmp_path / how).tasks()
        given = [(task.settings_of(0, []), 0.1) for task in tasks]
        assert len(given) == 3
        first[how] = [
            task.settings_of(1, [_as_trial(one)])["fit.learning_rate"] for task, one in zip(tasks, given, strict=True)
        ]
    assert len(set(first["alike"])) == 1
    assert len(set(first["apart"])) == 3


def _as_trial(one: Tried) -> Trial:
    return Trial(0, json.dumps(one[0]), "recall@20", one[1], 1, 1, None, "", None)


def searched(file: Path, out: Path, workers: int = 0) -> Search:
    search = Search.load(file, out)
    assert [outcome.reason for outcome in search.run(workers)] == [None, None, None]
    search.results()
    return search


def test_equal_budgets_validation_alone_and_resumed_anywhere(
    write_search: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("no test pair may be scored")

    monkeypatch.setattr(pipeline, "evaluate_run", forbidden)
    monkeypatch.setattr("hardneg.pipeline.inference.evaluate_scores", forbidden)
    file, whole, broken = write_search(), tmp_path / "whole", tmp_path / "broken"
    searched(file, whole)
    trials = pl.read_parquet(whole / "trials.parquet")
    assert trials.group_by("row").len()["len"].to_list() == [7, 7, 7]
    assert trials["value"].is_between(0, 1).all()
    assert not list(whole.rglob("evaluation"))
    first = trials.filter(pl.col("trial") == 0)
    assert first["settings"].str.contains('"fit.learning_rate": 0.01').all()  # as given
    for found in read_tuned_settings(whole).by_row.values():
        assert found.default_value is not None
        assert found.value >= found.default_value
        assert (found.trials, found.failed) == (7, 0)
        assert set(found.settings) == set(found.space)

    run_stage, calls = Stage.run, []

    def killed(stage: Stage, folder: Path) -> Path:
        calls.append(folder)
        if len(calls) == 10:  # in the middle of the second row
            raise KeyboardInterrupt
        return run_stage(stage, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            Search.load(file, broken).run(0)
        searched(file, broken)
    assert len(calls) == 21 + 1  # the trial in flight is repeated, no other
    assert_frame_equal(pl.read_parquet(broken / "trials.parquet").drop("seconds"), trials.drop("seconds"))
    assert (broken / NAME).read_text() == (whole / NAME).read_text()
    assert len(searched(write_search(trials=8), broken).tasks()[0].finished()) == 8  # a budget may be raised
    other = Search.load(write_search(space={"fit.l2": {"low": 0.1, "high": 1}}), broken)
    assert all("holds another search" in str(outcome.reason) for outcome in other.run(0))


def test_rows_side_by_side_find_the_same_and_a_study_takes_it(
    write_search: Write, write_study: Write, tmp_path: Path
) -> None:
    small = {"rows": {name: SEARCH["rows"][name] for name in ("uniform", "DNS")}, "trials": 3}
    file = write_search(**small)
    for workers, out in ((0, "one"), (2, "two")):
        search = Search.load(file, tmp_path / out)
        assert [outcome.reason for outcome in search.run(workers)] == [None, None]
        search.results()
    one, two = (pl.read_parquet(tmp_path / out / "trials.parquet").drop("seconds") for out in ("one", "two"))
    assert_frame_equal(one, two)
    best = read_tuned_settings(tmp_path / "one")
    models = {"MF": STUDY["models"]["MF"]}
    study_file = write_study(rows=small["rows"], models=models, seeds=3, tuned=str(tmp_path / "one"))
    study = Study.load(study_file, tmp_path / "study")
    for cell in study.cells:
        found = best.best["store"]["MF"][cell.row].settings
        assert cell.config.fit.learning_rate == found["fit.learning_rate"]
    results = results_of(study)
    assert results.settings is not None
    assert "Found by search 'small-search'" in (tmp_path / "study" / "tables.md").read_text(encoding="utf-8")
    said = write_study(
        rows=STUDY["rows"], models=models, tuned=str(tmp_path / "one"), options={"fit.learning_rate": [1]}
    )
    with pytest.raises(ConfigError) as caught:
        Study.load(said)
    assert "has nothing for store / MF / MixGCF" in str(caught.value)
    assert "fit.learning_rate was tuned by" in str(caught.value)
    elsewhere = write_study(
        rows=STUDY["rows"], tuned=str(tmp_path / "one"), models=models | {"another": {"kind": "mf"}}
    )
    with pytest.raises(ConfigError, match="has nothing for store / another; search that, too"):
        Study.load(elsewhere)


def test_a_trial_that_diverges_counts_and_one_row_of_such_trials_fails(write_search: Write, tmp_path: Path) -> None:
    wild = {"fit.learning_rate": {"low": 1e37, "high": 1e38}}
    rows = {
        "uniform": {"sampler": {"kind": "uniform"}, "space": wild},
        "wild": {"sampler": {"kind": "uniform"}, "fit": {"learning_rate": 1e38}, "space": wild},
    }
    file = write_search(rows=rows, trials=3, space=None)
    result = CliRunner().invoke(app, ["study", "search", str(file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.output
    assert "store / MF / wild: all 3 trials failed, the first because the embeddings" in result.output
    found = read_tuned_settings(tmp_path / "out").by_row
    assert list(found) == [("store", "MF", "uniform")]
    assert (found["store", "MF", "uniform"].trial, found["store", "MF", "uniform"].failed) == (0, 2)
    trials = pl.read_parquet(tmp_path / "out" / "trials.parquet")
    assert len(trials) == 6
    assert trials["reason"].drop_nulls().str.contains("lower the learning rate").sum() == 5
    assert "fit.learning_rate 1e+37 to 1e+38" in result.output


def test_an_estimate_counts_the_trials_of_the_chosen_splits(
    write_search: Write, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.05)
    splits, rows = {name: str(folders / "split") for name in ("store", "again")}, {"uniform": SEARCH["rows"]["uniform"]}
    file = write_search(splits=splits, rows=rows, space={"fit.l2": {"low": 0.1, "high": 1.0}})
    words = ["study", "estimate", str(file), "--out", str(tmp_path / "out")]
    for asked, trials in (([], 14), (["--split", "again"], 7)):
        result = CliRunner().invoke(app, [*words, *asked])
        assert result.exit_code == 0, result.output
        assert f"{trials} trials, 0 finished, {trials} to run" in result.output
    assert not (tmp_path / "out").exists()


def test_without_optuna_one_line_names_what_to_install(write_search: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    result = CliRunner().invoke(app, ["study", "search", str(write_search())])
    assert result.exit_code == 2
    assert "pip install 'hardneg[search]'" in result.output
    assert result.output.count("\n") == 1


def test_best_is_readable_yaml(write_search: Write, tmp_path: Path) -> None:
    file = write_search(
        trials=1, rows={"uniform": SEARCH["rows"]["uniform"]}, space={"fit.l2": {"low": 0.1, "high": 1.0}}
    )
    search = Search.load(file, tmp_path / "out")
    search.run(0)
    search.results()
    found = yaml.safe_load((tmp_path / "out" / NAME).read_text())
    assert found["best"]["store"]["MF"]["uniform"]["settings"] == {"fit.l2": 1e-4}


def test_settings_of_another_split_are_refused(
    write_search: Write, write_study: Write, folders: Path, tmp_path: Path
) -> None:
    """Its validation pairs may be this one's test pairs."""
    rows = {"uniform": {"sampler": {"kind": "uniform"}}}
    models = {"MF": STUDY["models"]["MF"]}
    other = tmp_path / "other"
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=1)).run(other)
    space = {"fit.learning_rate": {"low": 1e-3, "high": 1e-1}}
    search = Search.load(write_search(rows=rows, trials=1, space=space), tmp_path / "found")
    search.run(0)
    search.results()
    tuned = {"rows": rows, "models": models, "seeds": 3, "tuned": str(tmp_path / "found")}
    Study.load(write_study(**tuned))
    control = {"sampler": {"kind": "dns"}, "tuned_as": "uniform"}
    cells = Study.load(write_study(**(tuned | {"rows": rows | {"control": control}}))).cells
    assert len({cell.config.fit.learning_rate for cell in cells}) == 1
    lacking = {"other": {"sampler": {"kind": "dns"}}, "its control": {"sampler": {"kind": "dns"}, "tuned_as": "other"}}
    with pytest.raises(ConfigError) as caught:
        Study.load(write_study(**(tuned | {"rows": rows | lacking})))
    assert str(caught.value).count("has nothing for") == 1
    assert "has nothing for store / MF / other; search that, too" in str(caught.value)
    with pytest.raises(ConfigError, match="found the settings of store / MF / uniform on another split"):
        Study.load(write_study(**tuned, splits={"store": str(other)}))
    with pytest.raises(ConfigError, match="seeds: 100 is that of search 'small-search'"):
        Study.load(write_study(**(tuned | {"seeds": [1, 2, 100]})))


def test_a_part_of_a_search_keeps_what_was_found_elsewhere(write_search: Write, folders: Path, tmp_path: Path) -> None:
    rows = {"uniform": {"sampler": {"kind": "uniform"}}}
    splits = {name: str(folders / "split") for name in ("store", "again")}
    space = {"fit.learning_rate": {"low": 1e-3, "high": 1e-1}}
    file = write_search(splits=splits, rows=rows, trials=1, space=space)
    for name in splits:
        part = Search.load(file, tmp_path / "out", only=[name])
        assert len(part.run(0)) == 1
        part.results()
    assert set(read_tuned_settings(tmp_path / "out").best) == {"store", "again"}


def test_trials_of_another_search_are_left_out_and_named(write_search: Write, tmp_path: Path) -> None:
    """Negatives that the file asks for otherwise now, and a space that it changed."""
    sampler = {"kind": "semantic-mixing", "sampler": {"kind": "dns", "candidates": 4}, "neighbours": 3}
    rows = {name: {"sampler": {"kind": name}} for name in ("uniform", "dns")}
    rows |= {"semantic-mixing": {"sampler": sampler, "negatives": "n"}}
    near = {"method": "neighbours", "by": "random", "k": 12}
    out, space = tmp_path / "out", {"fit.l2": {"low": 1e-5, "high": 1e-3}}

    def written(**changes: Any) -> tuple[list[str], dict[str, str], set[str]]:
        made = Search.load(write_search(**{"rows": rows, "trials": 2, "space": space} | changes), out).results()
        found = [row for _, _, row in read_tuned_settings(out).by_row]
        return found, made.left_out, set(pl.read_parquet(out / "trials.parquet")["row"])

    first = Search.load(write_search(rows=rows, trials=2, space=space, negatives={"n": near}), out)
    assert [outcome.reason for outcome in first.run(0)] == [None] * 3
    assert written(negatives={"n": near}) == (["uniform", "dns", "semantic-mixing"], {}, set(rows))
    assert set(read_tuned_settings(out).best["store"]["MF"]["semantic-mixing"].made_with) == {"neighbours"}
    other = {"negatives": {"n": near | {"seed": 7}}}
    found, left_out, tried = written(**other)
    assert (found, tried) == (["uniform", "dns"], {"uniform", "dns"})
    assert "negatives 'n' differ from what this file asks for" in left_out["store / MF / semantic-mixing"]
    result = CliRunner().invoke(app, ["study", "search", str(tmp_path / "search.yaml"), "--out", str(out)])
    assert result.exit_code == 1, result.output
    assert "store / MF / semantic-mixing: negatives 'n' could not be made" in result.output
    assert list(read_tuned_settings(out).best["store"]["MF"]) == ["uniform", "dns"]
    moved = rows | {"dns": {"sampler": {"kind": "dns"}, "space": {"fit.l2": {"low": 0.1, "high": 1.0}}}}
    found, left_out, _ = written(rows=moved, negatives={"n": near})
    assert found == ["uniform", "semantic-mixing"]
    assert "holds another search" in left_out["store / MF / dns"]


def test_changed_trials_and_settings_are_noticed(write_search: Write, tmp_path: Path) -> None:
    file, out = write_search(trials=2), tmp_path / "out"
    task = searched(file, out).tasks()[0]
    best = out / NAME
    best.write_text(best.read_text().replace("trial: 0", "trial: 1").replace("failed: 0", "failed: 1"))
    with pytest.raises(DamagedError, match=NAME):
        read_tuned_settings(out)
    table = task.folder / "trials.parquet"
    pl.read_parquet(table).with_columns(value=pl.lit(0.9)).write_parquet(table)
    with pytest.raises(DamagedError, match=re.escape(str(table))):
        task.finished()
    with artifacts.trusting():
        assert [trial.value for trial in task.finished()] == [0.9, 0.9]
        assert read_tuned_settings(out).by_row
