"""Rows of a study that use suspects."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hardneg import artifacts, pipeline, text
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.data.split import read_split
from hardneg.errors import ConfigError
from hardneg.pipeline.inference import MASKED, RELEASED, RELEASED_KIND, scores_hash
from hardneg.studies import Search, Study
from hardneg.studies.estimate import time_epoch
from hardneg.studies.plan import Artifact
from hardneg.studies.recipes import Entry
from hardneg.studies.recipes.given import GivenSuspects

from ..suspect_folders import make_suspects, write_folder
from .conftest import STUDY, Write, results_of
from .test_study import LengthEncoder

MF = {"MF": STUDY["models"]["MF"]}


@pytest.fixture
def folder(folders: Path, tmp_path: Path) -> Path:
    return write_folder(tmp_path / "suspects", folders / "split", make_suspects(splits.read_split(folders / "split")))


def test_rows_name_their_suspects_and_options_vary_their_use(write_study: Write, folder: Path, tmp_path: Path) -> None:
    uses = {"sampler": {"kind": "uniform"}, "suspects": {"name": "made up", "use": "both"}}
    file = write_study(
        models=MF,
        rows={"uniform": STUDY["rows"]["uniform"], "with suspects": uses},
        suspects={"made up": {"folders": {"store": str(folder)}}},
        options={"suspects.weight": [0.5, 1.0]},
        seeds=3,
    )
    study = Study.load(file, tmp_path / "out")
    results = results_of(study)
    assert not results.failed
    lines = results.tables[0].frame
    assert lines is not None
    assert lines["row"].to_list() == ["uniform", "with suspects, weight 0.5", "with suspects, weight 1.0"]
    of_row = results.runs.filter(pl.col("line") == "with suspects, weight 0.5")["folder"][0]
    manifest = artifacts.read_manifest(tmp_path / "out" / of_row, pipeline.RUN)
    assert manifest["config"]["suspects"] == {"use": "both", "threshold": 0.5, "weight": 0.5, "graph": False}
    assert manifest["inputs"]["suspects"] == artifacts.folder_hash(folder)
    assert all(run.finished for run in Study.load(file, tmp_path / "out").runs())


def test_problems_of_suspects_are_reported_before_anything_runs(
    write_study: Write, folders: Path, folder: Path
) -> None:
    def said(name: str, given: dict[str, Path]) -> str:
        row = {"sampler": {"kind": "uniform"}, "suspects": {"name": name, "use": "exclude"}}
        given_as = {"rule": {"folders": {split: str(path) for split, path in given.items()}}}
        with pytest.raises(ConfigError) as error:
            Study.load(write_study(rows={"uniform": STUDY["rows"]["uniform"], "S": row}, suspects=given_as))
        return str(error.value)

    assert "found suspects 'llm', expected a name under `suspects` (rule)" in said("llm", {"store": folder})
    assert "rows.S: no suspects folder is given for split 'store'" in said("rule", {"elsewhere": folder})
    assert "'elsewhere' is no name under `splits`" in said("rule", {"elsewhere": folder})
    assert "is a split folder, expected a suspects folder" in said("rule", {"store": folders / "split"})


def test_settings_of_positives_are_varied_where_suspects_are_positives(write_study: Write, folder: Path) -> None:
    uses = {
        use: {"sampler": {"kind": "uniform"}, "suspects": {"name": "made up", "use": use}}
        for use in ("exclude", "both")
    }
    file = write_study(
        models=MF,
        rows={"uniform": STUDY["rows"]["uniform"], **uses},
        suspects={"made up": {"folders": {"store": str(folder)}}},
        options={"suspects.weight": [0.5, 1.0]},
    )
    lines = [cell.line for cell in Study.load(file).cells]
    assert lines == ["uniform", "exclude", "both, weight 0.5", "both, weight 1.0"]


def test_folders_of_another_split_are_refused_with_the_file(
    write_study: Write, folders: Path, folder: Path, tmp_path: Path
) -> None:
    other = SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)
    pipeline.split_stage(folders / "dataset", other).run(tmp_path / "other")
    file = write_study(
        models=MF,
        splits={"store": {"folder": str(tmp_path / "other")}},
        rows={"uniform": STUDY["rows"]["uniform"]},
        suspects={"made up": {"folders": {"store": str(folder)}}},
    )
    with pytest.raises(ConfigError, match=r"suspects\.made up: .* was made from another split than"):
        Study.load(file)


def test_all_rows_have_one_released_mask_and_a_row_without_suspects_has_a_remark(
    write_study: Write, folder: Path, tmp_path: Path
) -> None:
    rows = {
        "uniform": STUDY["rows"]["uniform"],
        "strict": {"sampler": {"kind": "uniform"}, "suspects": {"name": "rule", "use": "exclude", "threshold": 1.0}},
    }
    given = {"rule": {"folders": {"store": str(folder)}}}
    file = write_study(models=MF, rows=rows, seeds=1, suspects=given, released_mask="rule")
    study = Study.load(file, tmp_path / "out")
    results = results_of(study)
    masked = [
        artifacts.read_manifest(run.task.folder / RELEASED, RELEASED_KIND)["notes"][MASKED] for run in study.runs()
    ]
    assert masked[0] == masked[1] > 0
    assert any("strict: none of" in remark and "reaches 1" in remark for remark in results.tables[0].remarks)


def test_the_released_mask_has_a_separate_table_with_a_warning(
    write_study: Write, folder: Path, tmp_path: Path
) -> None:
    given = {"made up": {"folders": {"store": str(folder)}}}
    rows = {name: STUDY["rows"][name] for name in ("uniform", "DNS")}
    plain = write_study(models=MF, rows=rows, seeds=3)
    without = results_of(study := Study.load(plain, tmp_path / "out"))
    file = write_study(models=MF, rows=rows, seeds=3, suspects=given, released_mask="made up")
    study = Study.load(file, tmp_path / "out")
    assert not any(run.finished for run in study.runs())  # trained, but not scored under the other mask
    results = results_of(study)
    assert all(run.finished for run in study.runs())
    [table], [before] = results.tables, without.tables
    assert table.cells == before.cells
    assert results.runs["value"].to_list() == without.runs["value"].to_list()
    assert before.released is None
    assert table.released is not None
    frame = table.released.frame
    assert frame.select("row", "metric", "seeds").rows()[:2] == [("uniform", "ndcg@20", 3), ("uniform", "recall@20", 3)]
    assert table.frame is not None
    assert frame.filter(metric="ndcg@20")["honest"].to_list() == pytest.approx(table.frame["ndcg@20"].to_list())
    assert (frame["released_mask"] > frame["honest"]).all()
    page = (tmp_path / "out" / "tables.md").read_text()
    assert page.count("NOT A VALID EVALUATION") == 1
    assert "RELEASED MASK (not valid)" in page
    assert (tmp_path / "out" / "tables" / "store-mf-released-mask.parquet").is_file()
    picture = (tmp_path / "out" / "tables" / "store-mf-released-mask.svg").read_text()
    assert "released mask (not valid)" in picture
    assert all(f">{row}<" in picture for row in rows)
    with pytest.raises(ConfigError, match="released_mask: found suspects 'llm', expected a name under `suspects`"):
        Study.load(write_study(models=MF, rows=rows, suspects=given, released_mask="llm"))


def test_a_search_trains_with_suspects_and_may_tune_their_use(
    write_search: Write, folder: Path, tmp_path: Path
) -> None:
    row = {"sampler": {"kind": "dns"}, "suspects": {"name": "rule", "use": "positives"}}
    file = write_search(
        rows={"S": row},
        suspects={"rule": {"folders": {"store": str(folder)}}},
        trials=2,
        space={"suspects.weight": {"low": 0.1, "high": 1.0}},
    )
    search = Search.load(file, tmp_path / "out")
    assert [outcome.reason for outcome in search.run(0)] == [None]
    [task] = search.tasks()
    assert [list(trial.chosen) for trial in task.finished()] == [["suspects.weight"]] * 2


def test_the_time_of_a_row_with_suspects_is_estimated_with_them(
    folders: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardneg.studies.estimate.SECONDS", 0.0)
    config = pipeline.RunConfig(suspects=pipeline.SuspectsUse(use="both"))
    given = GivenSuspects(folders={"store": folder})
    shared = {"suspects": Artifact("store", Entry(given, "rule"), folder)}
    assert time_epoch(config, shared, read_split(folders / "split"), "cpu") > 0


def test_rows_are_reranked_by_judges_with_and_without_text(
    write_study: Write, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: LengthEncoder())
    rerank = {"suspects": ["made up", "at random"], "weights": [0, 1]}
    rows = {
        "uniform": STUDY["rows"]["uniform"],
        "DNS": STUDY["rows"]["DNS"] | {"fusion": {"weights": [0, 2]}, "rerank": rerank},
        "MixGCF": STUDY["rows"]["MixGCF"] | {"rerank": {"suspects": "made up"}},
    }
    judged = {
        "made up": {"folders": {"store": str(folder)}},
        "at random": {"method": "dual-tree", "run": {"model": "MF", "row": "uniform"}, "judge": {"kind": "random"}},
    }
    file = write_study(models=MF, rows=rows, suspects=judged, seeds=3)
    study = Study.load(file, tmp_path / "out")
    lines = [
        *("uniform", "DNS", "DNS + text"),
        *("DNS + made up", "DNS + text + made up", "DNS + at random", "DNS + text + at random"),
        *("MixGCF", "MixGCF + made up"),
    ]
    assert [cell.line for cell in study.cells] == lines
    results = results_of(study)
    assert results.failed == {}
    assert set(results.runs["line"].unique()) == set(lines)
    by_line = results.runs.filter(seed=1, metric="ndcg", k=20)
    folders = {line: tmp_path / "out" / path for line, path in by_line.select("line", "folder").iter_rows()}
    for line, source in (("DNS + made up", "DNS"), ("DNS + text + made up", "DNS + text")):
        inputs = artifacts.read_manifest(folders[line], pipeline.RUN)["inputs"]
        assert inputs["run"] == scores_hash(folders[source])
        assert inputs["suspects"] == artifacts.folder_hash(folder)
    assert by_line["valid_value"].null_count() == 0
    assert all(run.finished for run in Study.load(file, tmp_path / "out").runs())


def test_judges_of_a_reranking_are_names_under_suspects(write_study: Write, folder: Path) -> None:
    rows = {"uniform": STUDY["rows"]["uniform"] | {"rerank": {"suspects": ["made up", "llm"]}}}
    for changed, message in (
        ({"rows": rows}, r"rows.uniform: found suspects 'llm', expected a name under `suspects` \(made up\)"),
        ({"rows": rows, "splits": {"other": str(folder)}}, "no suspects folder is given for split 'other'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Study.load(write_study(suspects={"made up": {"folders": {"store": str(folder)}}}, **changed))
