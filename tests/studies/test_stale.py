"""Artifacts of an earlier file are stale; a failure beside the evaluated runs costs none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from hardneg import pipeline
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.studies import Study
from hardneg.studies.results import Results

from ..suspect_folders import make_suspects, write_folder
from .conftest import STUDY, Write, run_study

MF = {"MF": STUDY["models"]["MF"]}
NEAR: dict[str, Any] = {"method": "neighbours", "by": "random", "k": 12}
SEMANTIC_MIXING = {"kind": "semantic-mixing", "sampler": {"kind": "dns", "candidates": 4}, "neighbours": 3}
ROWS: dict[str, Any] = {
    "uniform": STUDY["rows"]["uniform"],
    "semantic-mixing": {"sampler": SEMANTIC_MIXING, "negatives": "n"},
}


def rows_of(results: Results) -> list[str]:
    frame = results.tables[0].frame
    return [] if frame.is_empty() else frame["row"].to_list()


def test_runs_from_stale_negatives_are_not_in_tables(write_study: Write, tmp_path: Path) -> None:
    small: dict[str, Any] = {"models": MF, "rows": ROWS, "seeds": 3}
    out = tmp_path / "out"
    before = write_study(**small, negatives={"n": NEAR}).read_text()
    assert rows_of(run_study(tmp_path / "study.yaml", out)) == ["uniform", "semantic-mixing"]
    file = write_study(**small, negatives={"n": NEAR | {"seed": 7}})
    collected = Study.load(file, out).results()
    assert rows_of(collected) == ["uniform"], "stale before anything is run"
    assert (
        "negatives 'n' differ from what this file asks for" in collected.failed["store / MF / semantic-mixing, seed 0"]
    )
    result = CliRunner().invoke(app, ["study", "run", str(file), "--out", str(out)])
    assert result.exit_code == 1, result.output
    assert "store / MF / semantic-mixing, seed 2: negatives 'n' could not be made" in result.output
    assert "already holds something else" in result.output
    runs = pl.read_parquet(out / "runs.parquet")
    assert runs.filter(pl.col("status") == "done")["row"].unique().to_list() == ["uniform"]
    assert "semantic-mixing: 0 of 3 seeds finished; left out." in (out / "tables.md").read_text()
    file.write_text(before)
    again = Study.load(file, out).results()
    assert (again.failed, rows_of(again)) == ({}, ["uniform", "semantic-mixing"]), (
        "the runs of the first file are finished"
    )


def test_a_reason_of_the_last_call_stays_until_the_run_is_made_from_what_the_file_asks(
    write_study: Write, tmp_path: Path
) -> None:
    small: dict[str, Any] = {"models": MF, "rows": ROWS, "seeds": 3}
    out = tmp_path / "out"
    run_study(write_study(**small, negatives={"n": NEAR}), out)
    file = write_study(**small, negatives={"n": NEAR | {"seed": 7}})
    assert len(run_study(file, out).failed) == 3
    assert len(Study.load(file, out).results().failed) == 3
    healed = run_study(write_study(**small, negatives={"n": NEAR}), out)
    assert (healed.failed, healed.remarks, rows_of(healed)) == ({}, [], ["uniform", "semantic-mixing"])


def test_a_released_mask_that_cannot_be_made_costs_its_own_table_alone(
    write_study: Write, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"model": "MF", "row": "uniform"}
    suspects = {"all": {"method": "dual-tree", "run": run, "candidates": 6, "judge": {"kind": "all"}}}
    rows = {"uniform": STUDY["rows"]["uniform"]}
    file, out = write_study(models=MF, rows=rows, seeds=3, suspects=suspects, released_mask="all"), tmp_path / "out"

    def fails(*_: object, **__: object) -> None:
        raise ConfigError("no candidates")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "suspects_stage", fails)
        results = run_study(file, out)
    assert (results.failed, rows_of(results)) == ({}, ["uniform"])
    assert results.tables[0].released is None
    assert results.tables[0].remarks == [
        "No table under the released mask: suspects 'all' could not be made: no candidates."
    ]
    [table] = Study.load(file, out).results().tables
    assert table.frame is not None
    assert table.remarks == ["No table under the released mask: suspects 'all' are not made yet."]
    [table] = run_study(file, out).tables
    assert table.released is not None, "scored once the mask is there"
    assert table.remarks == []


def test_an_auxiliary_run_with_a_seed_of_the_study_has_a_remark(
    write_study: Write, folders: Path, tmp_path: Path
) -> None:
    def remarks(**seed: int) -> list[str]:
        own = {"run": {"model": "MF", "row": "uniform", **seed}}
        rows = {"uniform": STUDY["rows"]["uniform"], "views": {"sampler": {"kind": "multi-view"}, "trees": "own"}}
        file = write_study(models=MF, rows=rows, trees={"own": own}, seeds=3)
        return Study.load(file, tmp_path / "out").results().remarks

    assert remarks() == []
    [said] = remarks(seed=2)
    assert "has seed 2, which is one of the study's" in said
    assert said in (tmp_path / "out" / "tables.md").read_text()
    given = {"all": {"folders": {"store": str(_suspects(folders, tmp_path))}}}
    file = write_study(models=MF, rows={"uniform": STUDY["rows"]["uniform"]}, suspects=given, released_mask="all")
    assert Study.load(file, tmp_path / "out").results().remarks == [], "a given folder has no seed"


def _suspects(folders: Path, tmp_path: Path) -> Path:
    return write_folder(tmp_path / "suspects", folders / "split", make_suspects(splits.read_split(folders / "split")))
