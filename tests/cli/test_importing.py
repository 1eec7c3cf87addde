"""`hardneg data import` for every source, as a person types it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from hardneg.cli import importing
from hardneg.cli.main import app
from hardneg.data import dataset as datasets


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["data", "import", *(str(word) for word in words)])


def succeed(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refuse(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    *progress, said = result.output.splitlines()
    assert all(line.startswith("reading ") for line in progress)
    assert said.startswith("hardneg: ")
    return said


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def toys(folder: Path) -> tuple[Path, Path]:
    """Twelve users and items that all like each other, one thirteenth of each that few like, and some dirt."""
    time = 1_450_000_000
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in range(12)] + [("few", "i1"), ("u1", "rare"), ("u1", "i1")]
    rows = [
        {"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time, "reviewText": "good"}
        for user, item in pairs
    ]
    rows += [{**rows[0], "overall": 3.0}, {**rows[0], "unixReviewTime": 0}]
    meta = [{"asin": f"i{i}", "title": f"Toy {i}"} for i in range(10)] + [{"asin": "rare", "title": "Rare"}]
    return put(folder, "Toys.json.gz", json_lines(rows) + "dirt\n"), put(folder, "meta.json.gz", json_lines(meta))


def test_a_preset_filters_while_reading_and_shows_both_counts(tmp_path: Path) -> None:
    reviews, meta = toys(tmp_path)
    command = ["amazon-2018", reviews, "--items", meta, "--preset", "hnlmrec-toys", "--out", tmp_path / "toys"]
    said = succeed(*command)
    assert "144 pairs, 12 users, 12 items, 10 items with a text table row" in said
    for line in (
        "Toys.json.gz: 1 row without a JSON object (first: line 150: 'dirt')",
        "filters: 1 row rated lower",
        "filters: 1 row outside the dates",
        "filters: 1 row repeating a pair",
        "filters: 2 rows outside the 10-core",
        "meta.json.gz: 1 row of items without interactions",
        "The paper states a 10-core, which its counts rule out",
    ):
        assert line in said
    table = [line.split() for line in said.splitlines()]
    assert ["users", "12", "22,338"] in table
    assert ["items", "12", "9,023"] in table
    assert ["pairs", "144", "200,511"] in table
    manifest = json.loads((tmp_path / "toys" / "manifest.json").read_text())
    assert manifest["config"]["preset"] == "hnlmrec-toys"
    assert manifest["config"]["filters"] == {
        "min_rating": 4.0,
        "since": "2015-01-01",
        "until": "2018-01-01",
        "kcore": 10,
    }
    assert set(manifest["inputs"]) == {"interactions", "items"}
    made = (tmp_path / "toys" / "manifest.json").stat().st_mtime_ns
    again = json.loads(succeed(*command, "--json"))
    assert again["paper"] == {"users": 22338, "items": 9023, "pairs": 200511}
    assert (again["users"], len(again["rows left out"])) == (12, 6)
    assert (tmp_path / "toys" / "manifest.json").stat().st_mtime_ns == made
    assert "already holds something else" in refuse(*command, "--without-reviews")


def test_reviews_can_be_left_out(tmp_path: Path) -> None:
    reviews, _ = toys(tmp_path)
    succeed("amazon-2018", reviews, "--without-reviews", "--out", tmp_path / "out")
    frame = datasets.read_dataset(tmp_path / "out").interactions
    assert frame.columns == ["user_id", "item_id", "rating", "timestamp"]
    assert len(frame) == 149


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[object]]:
    """The words after the source's name, for every source that has files of two pairs."""
    old = [{"reviewerID": "a", "asin": n, "overall": 5, "unixReviewTime": 7} for n in ("1", "2")]
    new = [{"user_id": "a", "parent_asin": n, "rating": 5, "timestamp": 7000} for n in ("1", "2")]
    dated = [{"user_id": "a", "business_id": n, "stars": 5, "date": "1970-01-01 00:00:07"} for n in ("1", "2")]
    meta = put(tmp_path, "meta.json", json_lines([{"asin": "1", "parent_asin": "1", "business_id": "1"}]))
    atomic = put(tmp_path, "x.inter", "user_id:token\titem_id:token\na\t1\na\t2\n")
    triples = put(tmp_path, "x.txt", "a 1 1\na 2 1\n")
    return {
        "amazon-2014": [put(tmp_path, "old.json", json_lines(old)), "--items", meta],
        "amazon-2018": [put(tmp_path, "old.json.gz", json_lines(old)), "--items", meta],
        "amazon-2023": [put(tmp_path, "new.jsonl", json_lines(new)), "--items", meta],
        "yelp": [put(tmp_path, "yelp.json", json_lines(dated)), "--items", meta],
        "movielens": [put(tmp_path, "u.data", "a\t1\t5\t7\na\t2\t5\t7\n")],
        "recbole": [atomic, "--valid", atomic, "--test", atomic],
        "selfrec": [triples, "--test", triples],
        "table": [put(tmp_path, "x.csv", "user,item\na,1\na,2\n")],
        "lightgcn": [put(tmp_path, "l.txt", "0 1 2\n")],
        "pairs": [put(tmp_path, "p.txt", "0 1\n0 2\n")],
    }


@pytest.mark.parametrize("source", get_args(importing.SourceName))
def test_every_source_makes_a_dataset_folder(tmp_path: Path, files: dict[str, list[object]], source: str) -> None:
    said = json.loads(succeed(source, *files[source], "--json", "--out", tmp_path / "out"))
    assert (said["users"], said["items"]) == (1, 2)
    assert said["items with a text table row"] == ("--items" in files[source])
    made = datasets.read_dataset(tmp_path / "out")
    assert made.interactions["item_id"].unique().sort().to_list() == ["1", "2"]
    if "timestamp" in made.interactions.columns:
        assert made.interactions["timestamp"].to_list() == [7, 7]
    if "split" in made.interactions.columns:
        assert set(made.interactions["split"]) <= {"train", "valid", "test"}
    assert made.interactions.schema["user_id"] == pl.String


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["amazon-2018", "x", "--valid", "y"], "--valid is no option of source 'amazon-2018'"),
        (["table", "x", "--preset", "hnlmrec-toys"], "--preset is no option of source 'table'"),
        (["movielens", "x", "--without-reviews"], "--without-reviews is no option of source 'movielens'"),
        (["selfrec", "x", "--items", "y"], "--items is no option of source 'selfrec'"),
        (["recbole", "x", "--split-value", "0=train"], "--split-value is no option of source 'recbole'"),
        (["yelp", "x", "--preset", "hnlmrec-toys"], "preset hnlmrec-toys is for sources amazon..., found yelp"),
        (["amazon-2018", "nowhere.json"], "nowhere.json does not exist; check the path"),
        (["yelp", "a", "b"], "found 2 files, expected one"),
    ],
)
def test_bad_input_gets_one_line(words: list[str], said: str) -> None:
    assert said in refuse(*words)


def test_files_of_another_source_leave_nothing_behind(tmp_path: Path) -> None:
    reviews, _ = toys(tmp_path)
    assert "149 rows without user_id or parent_asin" in refuse(
        "amazon-2023", reviews, "--out", tmp_path / "deep" / "out"
    )
    assert not list((tmp_path / "deep").iterdir())
