"""One study file runs DTL-NS by part: trees and suspects are made once a split, controls from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.judging import suspects
from hardneg.studies import Search, Study, estimate
from hardneg.studies.estimate import estimate_cells
from hardneg.studies.load import read_search, read_study
from hardneg.trees import trees_folder

from .conftest import STUDY, Write, results_of

ROOT = Path(__file__).parents[2]
MF = {"MF": STUDY["models"]["MF"]}
RUN = {"model": "MF", "row": "uniform"}
TREES: dict[str, Any] = {
    "own": {"run": RUN, "options": {"embedding_size": 4, "tree": {"leaf_items": 8}}},
    "shuffled": {"method": "shuffled", "like": "own"},
    "random": {"method": "random", "like": "own", "seed": 1},
}
JUDGED = {"method": "dual-tree", "run": RUN, "candidates": 6}
SUSPECTS: dict[str, Any] = {
    "rule": JUDGED | {"trees": "own"},
    "random": JUDGED | {"judge": {"kind": "random"}, "like": "rule"},
    "all": JUDGED | {"judge": {"kind": "all"}},
}
VIEWS = {"kind": "multi-view", "candidates": 4}
MIXGCF = STUDY["rows"]["MixGCF"]["sampler"]
ROWS: dict[str, Any] = {
    "uniform": STUDY["rows"]["uniform"],
    "sampler": {"sampler": VIEWS, "trees": "own"},
    "all": {"sampler": VIEWS, "trees": "own", "suspects": {"name": "rule", "use": "both"}},
    "judge random": {"sampler": MIXGCF, "suspects": {"name": "random", "use": "exclude"}},
    "judge all": {"sampler": MIXGCF, "suspects": {"name": "all", "use": "positives"}},
    "codes shuffled": {"sampler": VIEWS, "trees": "shuffled"},
    "DNS in views": {"sampler": {"kind": "dns", "candidates": 4, "alpha_s": 0.3}, "trees": "random"},
}
SMALL: dict[str, Any] = {"models": MF, "trees": TREES, "suspects": SUSPECTS, "rows": ROWS}


def test_the_comparison_from_one_file(write_study: Write, tmp_path: Path, folders: Path) -> None:
    study = Study.load(write_study(**SMALL, seeds=1, released_mask="rule"), tmp_path / "out")
    assert results_of(study).failed == {}
    assert all(run.finished for run in Study.load(tmp_path / "study.yaml", tmp_path / "out").runs())
    shared, data = tmp_path / "out" / "shared" / "store", splits.read_split(folders / "split")
    made = {path.name for path in shared.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert made == {
        "run-mf-uniform-seed1000",
        *(f"trees-{name}" for name in TREES),
        *(f"suspects-{name}" for name in SUSPECTS),
    }
    own, shuffled, random = (trees_folder.read_trees(shared / f"trees-{n}", data.train.n_items) for n in TREES)
    assert sorted(own.semantic.texts(), key=str) == sorted(shuffled.semantic.texts(), key=str)
    assert own.semantic.texts() != shuffled.semantic.texts()
    assert np.array_equal(np.sort(own.semantic.lengths), np.sort(random.semantic.lengths))
    rule, chance, every = (suspects.read_suspects(shared / f"suspects-{n}", data) for n in SUSPECTS)
    assert np.array_equal(rule.items, chance.items)
    assert chance.judge == f"random {len(rule.above()) / len(rule):.4g}"
    assert len(every.above()) == len(every)
    [run] = [run for run in study.runs() if run.cell.row == "all"]
    made_from = artifacts.read_manifest(run.task.folder, pipeline.RUN)["inputs"]
    assert made_from["trees"] == artifacts.folder_hash(shared / "trees-own")
    assert made_from["suspects"] == artifacts.folder_hash(shared / "suspects-rule")
    page, before = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8"), study.plan.build_times()
    assert "## Before the runs" in page
    assert all(f"| store | {row['folder']} | {row['seconds']:,.1f} |" in page for row in before.to_dicts())
    assert set(before["folder"]) == made


def test_what_cannot_be_made_costs_only_the_rows_that_need_it(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ConfigError("no wood")

    monkeypatch.setattr(pipeline, "trees_stage", fails)
    study = Study.load(write_study(**SMALL, seeds=1), tmp_path / "out")
    results = results_of(study)
    done = results.runs.filter(pl.col("status") == "done")["row"].unique(maintain_order=True).to_list()
    assert done == ["uniform", "judge all"]
    assert results.failed["store / MF / sampler, seed 0"] == "trees 'own' could not be made: no wood"
    assert results.failed["store / MF / judge random, seed 0"] == (
        "suspects 'random' could not be made: suspects 'rule' could not be made: trees 'own' could not be made: no wood"
    )


def test_given_trees_need_nothing_made(write_study: Write, tmp_path: Path, folders: Path) -> None:
    first = Study.load(write_study(**SMALL, seeds=1), tmp_path / "first")
    first.plan.build([cell for cell in first.cells if cell.row == "sampler"])
    given = {"folders": {"store": str(tmp_path / "first" / "shared" / "store" / "trees-own")}}
    rows = {name: ROWS[name] for name in ("uniform", "sampler", "codes shuffled")}
    trees = {"own": given, "shuffled": TREES["shuffled"]}
    study = Study.load(write_study(models=MF, trees=trees, rows=rows, seeds=1), tmp_path / "out")
    study.plan.build(study.cells)
    assert study.plan.failures == {}
    made = sorted(path.name for path in (tmp_path / "out" / "shared" / "store").iterdir())
    assert made == ["build_times.json", "trees-shuffled"]
    assert study.plan.build_times()["seconds"].null_count() == 0
    elsewhere = {"own": {"folders": {}}, "shuffled": TREES["shuffled"]}
    with pytest.raises(ConfigError, match=r"rows\.codes shuffled: no trees folder is given for split 'store'"):
        Study.load(write_study(models=MF, trees=elsewhere, rows=rows))
    assert folders.is_dir()


def test_a_semantic_mixing_row_reads_trees_by_the_sampler_inside(write_study: Write) -> None:
    inside = {"kind": "dns", "candidates": 4, "alpha_s": 0.3}
    row = {"sampler": {"kind": "semantic-mixing", "sampler": inside}, "negatives": "n"}
    given: dict[str, Any] = {"models": MF, "trees": TREES, "negatives": {"n": {"method": "neighbours", "by": "random"}}}
    rows = {"uniform": ROWS["uniform"], "semantic-mixing": row | {"trees": "own"}}
    assert Study.load(write_study(**given, rows=rows)).cells[1].entries["trees"].name == "own"
    with pytest.raises(ConfigError, match=r"1 problem.*rows\.semantic-mixing: sampler 'semantic-mixing' needs trees"):
        Study.load(write_study(**given, rows=rows | {"semantic-mixing": row}))


def test_a_control_may_have_the_rate_of_another_threshold(write_study: Write, tmp_path: Path, folders: Path) -> None:
    other = SUSPECTS["random"] | {"like_threshold": 0.3}
    row = {"sampler": MIXGCF, "suspects": {"name": "random", "use": "exclude"}}
    rows = {"uniform": ROWS["uniform"], "judge random": row}
    file = write_study(models=MF, trees=TREES, suspects=SUSPECTS | {"random": other}, rows=rows, seeds=1)
    study = Study.load(file, tmp_path / "out")
    study.plan.build(study.cells)
    shared, data = tmp_path / "out" / "shared" / "store", splits.read_split(folders / "split")
    rule, chance = (suspects.read_suspects(shared / f"suspects-{n}", data) for n in ("rule", "random"))
    assert 0 < len(rule.above()) < len(rule.above(0.3))
    assert chance.judge == f"random {len(rule.above(0.3)) / len(rule):.4g}"


def test_a_search_makes_trees_and_tunes_their_weights(write_search: Write, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    row = ROWS["all"] | {"space": {"sampler.alpha_c": {"choices": [0.0, 0.1]}}}
    rows = {"uniform": ROWS["uniform"], "all": row}
    search = Search.load(write_search(**SMALL | {"rows": rows}, trials=2, space={}), tmp_path / "out")
    assert [outcome.reason for outcome in search.run(0)] == [None, None]
    [trial, _] = search.tasks()[1].finished()
    assert trial.chosen == {"sampler.alpha_c": 0.1}
    with pytest.raises(ConfigError, match=r"sampler\.alpha_c is searched for row 'DNS', which has no trees"):
        Search.load(
            write_search(
                models=MF,
                rows={"DNS": STUDY["rows"]["DNS"]},
                space={"sampler.alpha_c": {"choices": [0.0, 0.1]}},
            )
        )


def test_the_time_is_estimated_before_anything_is_made(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.0)
    study = Study.load(write_study(**SMALL, seeds=1), tmp_path / "out")
    cells = [cell for cell in study.cells if cell.row == "all"]
    estimates = estimate_cells(study.plan, [(cell, 1, ()) for cell in cells])
    assert not (tmp_path / "out").exists()
    assert estimates[-1].seconds_per_epoch > 0


def test_an_auxiliary_run_is_estimated_once_and_no_more_when_it_is_finished(write_study: Write, tmp_path: Path) -> None:
    study = Study.load(write_study(**SMALL, seeds=1), tmp_path / "out")
    uniform = [cell for cell in study.cells if cell.row == "uniform"]
    assert study.plan.auxiliary_cells(uniform) == []  # it needs neither trees nor suspects
    assert study.plan.auxiliary_cells(study.cells) == uniform
    study.plan.build([cell for cell in study.cells if cell.row == "sampler"])  # the trees, and so their run
    assert study.plan.auxiliary_cells(study.cells) == [], "candidates come from a finished run"


def test_an_estimate_counts_auxiliary_runs_which_no_worker_shares(
    write_study: Write, write_search: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.0)
    pytest.importorskip("optuna")
    rows = {name: ROWS[name] for name in ("uniform", "sampler")}
    files = {
        "study": write_study(**SMALL | {"rows": rows}, seeds=1),
        "search": write_search(**SMALL | {"rows": rows}, trials=2, space={}),
    }
    for command, file in files.items():
        words = ["study", "estimate", str(file), "--out", str(tmp_path / command), "--json", "--workers", "2"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        hours = {cell["cell"]: cell["hours"] for cell in found["cells"]}
        assert list(hours) == ["store / MF / uniform, auxiliary run", "store / MF / uniform", "store / MF / sampler"]
        apart, *others = hours.values()
        assert found["hours_in_parallel"] == pytest.approx(apart + sum(others) / 2)


@pytest.mark.parametrize(
    ("section", "entry", "said"),
    [
        (
            "trees",
            {"run": {"model": "GCN", "row": "uniform"}},
            "trees.own: run: found models 'GCN', expected a name under `models` (MF",
        ),
        ("trees", {"run": {"model": "MF", "row": "all"}}, "row 'all' uses negatives, suspects or trees itself"),
        ("trees", {"method": "random", "like": "shuffled"}, "trees.own: like 'shuffled' is shuffled itself"),
        ("trees", {"method": "random", "like": "oak"}, "trees.own: found trees 'oak', expected a name under `trees`"),
        ("suspects", JUDGED, "suspects.rule: judge 'rule' needs trees; name some"),
        ("suspects", JUDGED | {"trees": "oak"}, "suspects.rule: found trees 'oak', expected a name under `trees`"),
        ("suspects", JUDGED | {"trees": "own", "judge": {"kind": "all"}}, "judge 'all' uses no trees"),
        ("suspects", JUDGED | {"trees": "own", "like": "all"}, "like is for judge 'random' alone, found 'rule'"),
        ("suspects", JUDGED | {"judge": {"kind": "random"}, "like": "random"}, "has the rate of others itself"),
        ("suspects", JUDGED | {"trees": "own", "like_threshold": 0.7}, "found like_threshold without like"),
        (
            "suspects",
            JUDGED | {"judge": {"kind": "random", "rate": 0.5}, "like": "all"},
            "found both a rate and like 'all'",
        ),
        ("rows", {"sampler": VIEWS}, "rows.uniform: sampler 'multi-view' needs trees; name some"),
        ("rows", {"sampler": MIXGCF, "trees": "own"}, "rows.uniform: sampler 'mixgcf' uses no trees"),
        ("rows", {"sampler": VIEWS, "trees": "oak"}, "rows.uniform: found trees 'oak', expected a name under `trees`"),
        (
            "rows",
            {"sampler": {"kind": "uniform"}, "models": []},
            "a run of row 'uniform' with 'MF' is needed, which is left out on split 'store'",
        ),
    ],
)
def test_problems_are_reported_before_anything_runs(
    write_study: Write, section: str, entry: dict[str, Any], said: str
) -> None:
    name = {"trees": "own", "suspects": "rule", "rows": "uniform"}[section]
    with pytest.raises(ConfigError) as error:
        Study.load(write_study(**SMALL | {section: SMALL[section] | {name: entry}}))
    assert said in str(error.value)


def test_options_give_no_weight_where_there_are_no_trees(write_study: Write) -> None:
    rows = {name: STUDY["rows"][name] for name in ("uniform", "DNS")}
    with pytest.raises(ConfigError, match="options: 'DNS' gets a weight of trees, but needs trees"):
        Study.load(write_study(models=MF, rows=rows, options={"sampler.alpha_s": [0.0, 0.1]}))


@pytest.mark.parametrize("name", ["dtlns", "dtlns-recorded", "dtlns-light", "dtlns-search", "judges"])
def test_committed_files_have_no_problem_but_missing_folders(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(ROOT / "tests")  # where no data folder is
    read = read_search if name.endswith("search") else read_study
    with pytest.raises(ConfigError) as error:
        read(ROOT / "studies" / f"{name}.yaml")
    problems = str(error.value).split("; (")
    assert len(problems) >= 1
    wrong = [text for text in problems if "splits." not in text and "tuned:" not in text and "suspects." not in text]
    assert not wrong
