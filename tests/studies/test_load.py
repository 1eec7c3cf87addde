"""A study file is checked before anything runs, and all problems are reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardneg.errors import ConfigError
from hardneg.studies.load import read_search, read_study

from .conftest import Write

WRONG = """
name: first/x
splits: {shop: nowhere, shop2: SPLIT, shop2: SPLIT}
models: {MF: {kind: mf, embedding_size: 0}, "M F": {kind: mf}, "m-f": {kind: mf}}
negatives:
  noise: {method: random, like: retrieved}
rows:
  DNS: {sampler: {kind: dns, candidates: many}}
  magic: {sampler: {kind: magic}}
  text: {sampler: {kind: semantic}, splits: [shop9]}
  text2: {sampler: {kind: semantic}, negatives: nothing}
  text3: {sampler: {kind: uniform}, negatives: noise, fit: {seed: 3}}
fit: {epoch: 2}
options: {fit.l3: [1]}
tuned: nowhere
seeds: 0
baseline: unifor
colour: red
"""
SAID = [
    "'shop2' twice",
    "name: String should match",
    "models.MF.embedding_size: Input should be greater than 0",
    "rows.DNS.sampler.candidates: Input should be a valid integer",
    "rows.magic.sampler: found sampler 'magic'",
    "fit.epoch: unknown; did you mean epochs?",
    "seeds: found 0, expected a number of seeds",
    "colour: unknown, expected one of name, splits",
    "'M F' and 'm-f' would share the folder",
    "splits.shop: nowhere holds no manifest.json",
    "rows.text: found splits 'shop9', expected a name under `splits` (shop, shop2",
    "rows.text: sampler 'semantic' needs negatives",
    "rows.text2: found negatives 'nothing', expected a name under `negatives` (noise)",
    "rows.text3: sampler 'uniform' uses no negatives",
    "negatives.noise: found negatives 'retrieved', expected a name under `negatives` (noise)",
    "rows.text3.fit: seed is no training setting",
    "tuned: nowhere holds no best.yaml",
    "no row or model has the setting 'fit.l3'",
    "baseline: found 'unifor'",
]


def refused(file: Path, read: Any = read_study) -> str:
    with pytest.raises(ConfigError) as caught:
        read(file)
    return str(caught.value)


def test_all_problems_and_no_others_are_reported_at_once(folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG.replace("SPLIT", str(folders / "split")))
    said = refused(file)
    for words in SAID:
        assert words in said, words
    assert f"{len(SAID)} problem(s)" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline": None}, "baseline: Field required"),
        ({"rows": {}}, "rows: Dictionary should have at least 1 item"),
        ({"options": {"fit.l2": [-1]}}, "fit.l2 -1: Input should be greater than or equal to 0"),
        ({"options": {"sampler.kind": ["dns"]}}, "no row or model has the setting 'sampler.kind'"),
        ({"metrics": ["ndcg20"]}, "metrics.0: String should match"),
        ({"seeds": [1, 1]}, "a value occurs twice"),
        ({"rows": {"uniform": {"sampler": {"kind": "uniform"}, "models": ["MF"]}}, "baseline": "uniform"}, ""),
        (
            {
                "rows": {
                    "uniform": {"sampler": {"kind": "uniform"}, "models": ["MF"]},
                    "DNS": {"sampler": {"kind": "dns"}},
                }
            },
            "'uniform' has no line on store / LightGCN",
        ),
    ],
)
def test_single_problems(write_study: Write, changes: dict[str, Any], said: str) -> None:
    if said:
        assert said in refused(write_study(**changes))
    else:
        assert len(read_study(write_study(**changes))[1]) == 1


def test_text_rows_need_texts(write_study: Write, folders: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folders / "split", tmp_path / "bare")
    pl.read_parquet(tmp_path / "bare" / "items.parquet").select("item_id").write_parquet(
        tmp_path / "bare" / "items.parquet"
    )
    rows = {
        "uniform": {"sampler": {"kind": "uniform"}},
        "text": {"sampler": {"kind": "semantic"}, "negatives": "retrieved"},
    }
    negatives = {"retrieved": {"method": "retrieved"}}
    said = refused(write_study(splits={"bare": str(tmp_path / "bare")}, rows=rows, negatives=negatives))
    assert "split 'bare' has no item texts" in said


def test_options_are_lines_named_by_their_values_where_they_apply(write_study: Write) -> None:
    _, cells = read_study(write_study(options={"fit.l2": [1e-4, 0.01], "sampler.candidates": [2, 3]}))
    lines = [cell.line for cell in cells if cell.model == "MF"]
    assert lines[:3] == ["uniform, l2 0.0001", "uniform, l2 0.01", "DNS, l2 0.0001, candidates 2"]
    assert len(lines) == 2 + 4 + 4
    assert {cell.config.fit.l2 for cell in cells} == {1e-4, 0.01}


def test_rows_go_before_splits_and_these_before_the_file(write_study: Write, folders: Path) -> None:
    rows = {
        "uniform": {"sampler": {"kind": "uniform"}},
        "DNS": {"sampler": {"kind": "dns"}, "fit": {"l2": 0.5}},
    }
    splits = {"store": {"folder": str(folders / "split"), "fit": {"l2": 0.1, "patience": 7}}}
    _, cells = read_study(write_study(rows=rows, splits=splits))
    fits = {cell.row: cell.config.fit for cell in cells}
    assert (fits["uniform"].l2, fits["DNS"].l2) == (0.1, 0.5)
    assert {(fit.patience, fit.epochs, fit.batch_size) for fit in fits.values()} == {(7, 2, 2048)}


def test_a_split_may_have_some_of_the_models_alone(write_study: Write, folders: Path) -> None:
    models = {"MF": {"kind": "mf"}, "LightGCN": {"kind": "lightgcn"}}
    split = {"folder": str(folders / "split"), "models": ["MF"]}
    _, cells = read_study(write_study(models=models, splits={"store": split}))
    assert {cell.model for cell in cells} == {"MF"}
    said = refused(write_study(models=models, splits={"store": split | {"models": ["NGCF"]}}))
    assert "splits.store" in said
    assert "NGCF" in said


def test_numbers_are_taken_as_people_write_them(write_study: Write) -> None:
    file = write_study()
    file.write_text(file.read_text() + "options: {fit.l2: [1e-4, 1E-2]}\n")
    assert {cell.config.fit.l2 for cell in read_study(file)[1]} == {1e-4, 1e-2}


def test_a_file_that_is_no_mapping_or_no_yaml_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("- 1\n- 2\n")
    assert "the file: found [1, 2], expected a mapping" in refused(file)
    file.write_text("a: [1\n")
    assert "YAML" in refused(file)
    assert "does not exist" in refused(tmp_path / "other.yaml")


def test_a_space_must_fit_some_row_and_have_ends_in_order(write_search: Write) -> None:
    space = {
        "fit.l2": {"low": 1.0, "high": 0.1},
        "fit.learning_rate": {"low": 0.0, "high": 0.1, "log": True},
        "sampler.alpha": {"low": 0.1, "high": 0.2},
        "sampler.candidates": {"choices": [0, 4]},
        "fit.select": {"low": 1, "high": 2},
    }
    said = refused(write_search(space=space), read_search)
    for words in (
        "fit.l2 has low 1 and high 0.1",
        "expected low above 0",
        "'sampler.alpha'",
        "candidates 0: Input should be greater than 0",
        "fit.select is no number",
    ):
        assert words in said, words


def test_a_part_of_a_study_has_some_splits_and_their_rows(write_study: Write, folders: Path) -> None:
    splits = {"store": str(folders / "split"), "other": str(folders / "split")}
    rows = {
        "uniform": {"sampler": {"kind": "uniform"}},
        "DNS": {"sampler": {"kind": "dns"}, "splits": ["other"]},
        "MixGCF": {"sampler": {"kind": "mixgcf"}, "splits": ["store", "other"]},
    }
    file = write_study(splits=splits, rows=rows)
    _, cells = read_study(file, only=["store"])
    assert {cell.split for cell in cells} == {"store"}
    assert {cell.row for cell in cells} == {"uniform", "MixGCF"}
    with pytest.raises(ConfigError, match="--split shop: found splits store, other, expected one of these"):
        read_study(file, only=["shop"])


def test_a_part_of_a_study_needs_the_folders_of_its_own_splits_alone(
    write_study: Write, write_search: Write, folders: Path
) -> None:
    splits = {"store": str(folders / "split"), "other": "nowhere"}
    suspects = {"made up": {"folders": {"store": "no-suspects", "other": "none-either", "third": "none"}}}
    said = refused(write_study(splits=splits, suspects=suspects))
    for words in (
        "splits.other: nowhere holds no",
        "no-suspects holds no",
        "none-either holds no",
        "'third' is no name",
    ):
        assert words in said, words
    with pytest.raises(ConfigError) as caught:
        read_study(write_study(splits=splits, suspects=suspects), only=["store"])
    assert "no-suspects holds no" in str(caught.value)
    assert "'third' is no name" in str(caught.value)
    assert "nowhere" not in str(caught.value)
    assert "none-either" not in str(caught.value)
    _, cells = read_study(write_study(splits=splits), only=["store"])
    assert {cell.split for cell in cells} == {"store"}
    with pytest.raises(ConfigError, match=r"splits\.other: nowhere holds no"):
        read_search(write_search(splits=splits), only=["store"])
