"""The page of a study: verdicts, tables, charts, escaping, and what it needs on disk."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.report.page_checks import ATTACK, check_page
from tests.studies.conftest import STUDY, Write, run_study

from hardneg.artifacts import trusting
from hardneg.errors import DataError
from hardneg.judging import suspects
from hardneg.judging.calibration import calibrate
from hardneg.report.verdicts import describe_verdict
from hardneg.stage import Draft, Stage
from hardneg.studies import Study, page
from hardneg.studies.page import write_page
from hardneg.studies.run_comparison import compare_finished_runs

ROWS = STUDY["rows"] | {
    "DNS 8": {"sampler": {"kind": "dns", "candidates": 8}, "against": "DNS"},
    ATTACK: {"sampler": {"kind": "uniform"}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, folders: Path) -> Path:
    """A finished study, one row of which has a hostile name, without its split."""
    root = tmp_path_factory.mktemp("page")
    shutil.copytree(folders / "split", root / "split")
    spec = STUDY | {
        "rows": ROWS,
        "splits": {"store": {"folder": str(root / "split"), "truth": str(folders / "dataset")}},
        "seeds": 3,
    }
    spec |= {"comparisons": [["MixGCF", "DNS"]]}
    loaded = Study.load(spec, root / "out")
    loaded.run(0)
    results = loaded.results()
    assert [len(table.frame) for table in results.tables] == [5, 5]
    return root / "out"


def test_a_page_shows_every_table_with_its_verdict(study: Path) -> None:
    checked = check_page(write_page(study).read_text(encoding="utf-8"), scripts=2)
    text = " ".join(" ".join(checked.texts).split())
    for table in Study.load(study / "study.yaml", study).results().tables:
        assert describe_verdict(table.frame, "ndcg@20") in text
        assert all(cell in text for line in table.cells for cell in line[1:3])
    assert "30 of 30 runs are finished" in text
    assert "uniform 4" not in text
    assert text.count("Learning curves by second") == 2 * 2  # shown, and the name of the chart
    sorts = [attributes["aria-sort"] for attributes in checked.all("th") if attributes["scope"] == "col"]
    assert set(sorts) == {"none"}
    assert len(checked.all("caption")) == len(checked.all("table")) >= 6
    assert "Mean probability that the user likes a sampled negative" in text
    for title in (
        "LLM tokens",
        "DNS against its controls",
        "Further comparisons",
        "What the lines were made from",
        "sampler mixgcf",
    ):
        assert title in text
    assert f"hardneg report {study}" in text


def test_costs_of_a_language_model_have_a_chart(study: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(study, tmp_path / "out")
    assert "Quality against training time" in write_page(copy).read_text(encoding="utf-8")
    for money, title in ((0.0, "Quality against language model tokens"), (0.5, "Quality against money")):
        for path in copy.glob("runs/**/dns-seed*/costs.json"):
            values = json.loads(path.read_text(encoding="utf-8")) | {"llm_tokens": 2_000_000, "money": money}
            path.write_text(json.dumps(values), encoding="utf-8")
        with trusting():  # its files are not those of the manifests
            text = write_page(copy).read_text(encoding="utf-8")
        assert title in text
        assert ("for 2 millions" in text) == (money == 0)


def test_hostile_names_are_text(study: Path) -> None:
    html = write_page(study).read_text(encoding="utf-8")
    assert "<img" not in html
    assert ATTACK in " ".join(check_page(html, scripts=2).texts)


def test_the_explorer_has_every_line_and_other_text_is_there_without_the_split(study: Path, tmp_path: Path) -> None:
    html = write_page(study, tmp_path / "page.html").read_text(encoding="utf-8")
    (packed,) = re.findall(r'id="explorer-data">([^<]+)<', html)
    (split,) = json.loads(gzip.decompress(base64.b64decode(packed)))["splits"]
    assert [name for name in split["runs"] if "(MF" in name] == [f"{name} (MF, seed 0)" for name in ROWS]
    assert len(split["runs"]) == 10
    assert {len(user["top"]) for user in split["users"]} == {10}
    shutil.move(study.parent / "split", tmp_path / "split")
    text = " ".join(check_page(write_page(study, tmp_path / "page.html").read_text(encoding="utf-8")).texts)
    shutil.move(tmp_path / "split", study.parent / "split")
    assert "No explorer of store: the split of" in text


def test_a_moved_study_gives_the_same_page_and_the_page_is_small(study: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(study, moved)
    first = write_page(study, tmp_path / "a.html").read_bytes()
    second = write_page(moved, tmp_path / "b.html").read_bytes()
    assert second == first.replace(str(study).encode(), str(moved).encode())
    assert len(first) < 300_000


def test_runs_that_ended_after_the_tables_are_included(write_study: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_study(write_study(seeds=1, models={"MF": STUDY["models"]["MF"]}, fit=STUDY["fit"] | {"epochs": 1}), out)
    for name in ("tables", "runs.parquet"):  # as after a kill
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(next((out / "runs").glob("*/*/mixgcf-seed0")))
    text = " ".join(check_page(write_page(out).read_text(encoding="utf-8"), scripts=2).texts)
    assert "2 of 3 runs are finished" in text
    assert "Not tested" in text
    assert "not run yet" in text


def test_another_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the folder of a study or of a run"):
        write_page(tmp_path)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.yaml").touch()
    with pytest.raises(DataError, match=r"give the study in it, .*study$"):
        write_page(tmp_path)


def texts(html: str) -> str:
    return " ".join(" ".join(check_page(html, scripts=2).texts).split())


def test_groups_are_those_of_the_comparison_of_runs(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = texts(write_page(study, tmp_path / "page.html").read_text(encoding="utf-8"))
    folders = [study / f"runs/store/mf/{name}-seed{seed}" for name in ("uniform", "dns") for seed in range(3)]
    compared = compare_finished_runs(folders, study.parent / "split", metrics=("ndcg@20",))
    assert len(compared.tables) == 3
    for table in compared.tables[1:]:
        assert shown.count(table.title) == 2
        assert all(header in shown for header in table.headers)
        assert all(cell in shown for cell in table.cells[0])
    monkeypatch.setattr(page, "MOST_SCORES", 10)
    limited = texts(write_page(study, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Groups by popularity are left out" in limited
    assert compared.tables[2].title in limited
    assert compared.tables[1].title not in limited


def test_the_calibration_of_a_judge_is_shown(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    scores = np.array([[2.0, 0.0], [1.0, 1.5], [3.0, -1.0]])

    def build(draft: Draft) -> None:
        draft.notes["calibration"] = calibrate(scores)[1]

    Stage(suspects.KIND, {}, {}, build).run(tmp_path / "study" / "shared" / "store" / "likelihood")
    shown = texts(write_page(tmp_path / "study", tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "store / likelihood 3 3 0.889" in shown
    assert "Calibration of judges" in shown
