"""Methods are held against their own controls, and whatever else the file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardneg import text
from hardneg.errors import ConfigError
from hardneg.evaluation import compare_methods, holm
from hardneg.studies import Study
from hardneg.studies.comparisons import pairs_with_controls
from hardneg.studies.runs import collect_scores

from .conftest import STUDY, Write, results_of
from .test_study import LengthEncoder

DNS = STUDY["rows"]["DNS"]
ROWS: dict[str, Any] = {
    "uniform": STUDY["rows"]["uniform"],
    "MixGCF": STUDY["rows"]["MixGCF"] | {"fusion": {"weights": [0, 2]}},
    "DNS": DNS | {"fusion": {"weights": [0, 2]}},
    "one of two": {"sampler": {"kind": "dns", "candidates": 2}, "tuned_as": "DNS", "seeds": 3},
    "one of one": {"sampler": {"kind": "dns", "candidates": 1}, "tuned_as": "DNS", "seeds": 3},
    "other uniform": {"sampler": {"kind": "uniform"}, "tuned_as": "uniform", "seeds": 3},
}
SMALL: dict[str, Any] = {"models": {"MF": STUDY["models"]["MF"]}, "rows": ROWS}


def test_a_control_is_compared_with_the_row_that_it_names(write_study: Write) -> None:
    rows = ROWS | {
        "one of two": ROWS["one of two"] | {"against": "uniform"},
        "one of one": ROWS["one of one"] | {"against": "one of two"},
    }
    cells = Study.load(write_study(**SMALL | {"rows": rows})).cells
    assert pairs_with_controls(cells, "uniform") == {"one of two": [("one of two", "one of one")]}
    assert {cell.searched[2] for cell in cells if cell.row == "one of one"} == {"DNS"}
    with pytest.raises(ConfigError, match=r"rows\.one of one: found rows 'three', expected a name under `rows`"):
        Study.load(write_study(**SMALL | {"rows": rows | {"one of one": rows["one of one"] | {"against": "three"}}}))


def test_every_row_is_compared_with_its_controls(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: LengthEncoder())
    asked = [["DNS + text", "MixGCF + text"], ["MixGCF", "DNS"]]
    out = tmp_path / "out"
    study = Study.load(write_study(**SMALL, comparisons=asked), out)
    results = results_of(study)
    [table] = results.tables
    own, further = table.pairs
    assert own.title == "DNS against its controls"
    assert own.frame.select("row", "against").rows() == [("DNS", "one of two"), ("DNS", "one of one")]
    measured = {}
    for row in ("DNS", "one of two", "one of one"):
        jobs = [run.task for run in study.runs() if run.cell.line == row]
        measured[row] = collect_scores(jobs[0].row, [job.seed for job in jobs], jobs[0].runs_dir).values["ndcg@20"]
    found = [compare_methods(measured["DNS"], measured[name]) for name in ("one of two", "one of one")]
    assert own.frame["difference"].to_list() == [one.mean for one in found]
    assert own.frame["p_holm"].to_list() == pytest.approx(holm([one.p for one in found]))
    assert further.frame.select("row", "against").rows() == [tuple(pair) for pair in asked]
    assert table.frame is not None
    outside = table.frame.filter(pl.col("verdict") == "control")["row"].to_list()
    assert outside == ["one of two", "one of one"], "a control of the baseline is what the table itself tests"
    family = table.frame.filter(pl.col("p_holm").is_not_null())
    assert family["p_holm"].to_list() == pytest.approx(holm(family["p"].to_list()))
    page = (out / "tables.md").read_text()
    assert "Controls, outside the family of Holm here: one of two; one of one." in page
    assert "### DNS against its controls" in page
    assert "### Further comparisons" in page
    assert {"store-mf-against-controls-dns.md", "store-mf-comparisons.parquet"} <= {
        path.name for path in (out / "tables").iterdir()
    }


def test_lines_are_compared_with_controls_of_the_same_options(write_study: Write) -> None:
    cells = Study.load(write_study(**SMALL, options={"fit.l2": [0.1, 0.2]})).cells
    assert pairs_with_controls(cells, "uniform, l2 0.1") == {
        "DNS": [
            (f"DNS, l2 {value}", f"{name}, l2 {value}") for name in ("one of two", "one of one") for value in (0.1, 0.2)
        ],
        "uniform": [("uniform, l2 0.2", "other uniform, l2 0.2")],
    }


def test_comparisons_name_lines(write_study: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        Study.load(write_study(**SMALL, comparisons=[["DNS", "BPR"], ["DNS", "DNS"]]))
    assert "comparisons: found 'BPR', expected one of the lines (uniform, MixGCF" in str(caught.value)
    assert "comparisons: 'DNS' is compared with itself" in str(caught.value)
