"""`hardneg data import` for every format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

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
    *progress, message = result.output.splitlines()
    assert all(line.startswith("reading ") for line in progress)
    assert message.startswith("hardneg: ")
    return message


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def toys(folder: Path) -> tuple[Path, Path]:
    """Twelve users with the same twelve items, a rare user, a rare item, and malformed rows."""
    time = 1_450_000_000
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in range(12)] + [("few", "i1"), ("u1", "rare"), ("u1", "i1")]
    rows = [
        {"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time, "reviewText": "good"}
        for user, item in pairs
    ]
    rows += [{**rows[0], "overall": 3.0}, {**rows[0], "unixReviewTime": 0}]
    meta = [{"asin": f"i{i}", "title": f"Toy {i}"} for i in range(10)] + [{"asin": "rare", "title": "Rare"}]
    return put(folder, "Toys.json.gz", json_lines(rows) + "malformed\n"), put(folder, "meta.json.gz", json_lines(meta))


def test_a_preset_filters_while_reading_and_shows_both_counts(tmp_path: Path) -> None:
    reviews, meta = toys(tmp_path)
    command = [
        "amazon",
        reviews,
        "--year",
        2018,
        "--items",
        meta,
        "--preset",
        "hnlmrec-toys",
        "--out",
        tmp_path / "toys",
    ]
    said = succeed(*command)
    assert "144 pairs, 12 users, 12 items\n" in said
    assert "10 of 12 items of the interactions (83.3%) have a row in the item table" in said
    for line in (
        "Toys.json.gz: 1 row without a JSON object (first: line 150: 'malformed')",
        "filters: 1 row rated lower",
        "filters: 1 row outside the dates",
        "filters: 1 row repeating a pair",
        "filters: 2 rows outside the 10-core",
        "meta.json.gz: 1 row of items without interactions",
        "10-core, ",
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
    succeed("amazon", reviews, "--year", 2018, "--without-reviews", "--out", tmp_path / "out")
    frame = datasets.read_dataset(tmp_path / "out").interactions
    assert frame.columns == ["user_id", "item_id", "rating", "timestamp"]
    assert len(frame) == 149


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[object]]:
    """The words after the format's name, for files of two pairs."""
    old = [{"reviewerID": "a", "asin": n, "overall": 5, "unixReviewTime": 7} for n in ("1", "2")]
    new = [{"user_id": "a", "parent_asin": n, "rating": 5, "timestamp": 7000} for n in ("1", "2")]
    dated = [{"user_id": "a", "business_id": n, "stars": 5, "date": "1970-01-01 00:00:07"} for n in ("1", "2")]
    meta = put(tmp_path, "meta.json", json_lines([{"asin": "1", "parent_asin": "1", "business_id": "1"}]))
    atomic = put(tmp_path, "x.inter", "user_id:token\titem_id:token\na\t1\na\t2\n")
    triples = put(tmp_path, "x.txt", "a 1 1\na 2 1\n")
    return {
        "amazon 2014": [put(tmp_path, "old.json", json_lines(old)), "--year", 2014, "--items", meta],
        "amazon 2018": [put(tmp_path, "old.json.gz", json_lines(old)), "--year", 2018, "--items", meta],
        "amazon 2023": [put(tmp_path, "new.jsonl", json_lines(new)), "--year", 2023, "--items", meta],
        "yelp": [put(tmp_path, "yelp.json", json_lines(dated)), "--items", meta],
        "movielens": [put(tmp_path, "u.data", "a\t1\t5\t7\na\t2\t5\t7\n")],
        "recbole": [atomic, "--valid", atomic, "--test", atomic],
        "selfrec": [triples, "--test", triples],
        "table": [put(tmp_path, "x.csv", "user,item\na,1\na,2\n")],
        "lightgcn": [put(tmp_path, "l.txt", "0 1 2\n")],
        "pairs": [put(tmp_path, "p.txt", "0 1\n0 2\n")],
        "custom": ["hardneg.data.readers:read_table", put(tmp_path, "y.csv", "user,item\na,1\na,2\n")],
    }


SOURCES = ["amazon 2014", "amazon 2018", "amazon 2023", "yelp", "movielens", "recbole", "selfrec", "table", "lightgcn"]
SOURCES += ["pairs", "custom"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_format_becomes_a_dataset_folder(tmp_path: Path, files: dict[str, list[object]], source: str) -> None:
    values = json.loads(succeed(source.split(maxsplit=1)[0], *files[source], "--json", "--out", tmp_path / "out"))
    assert (values["users"], values["items"]) == (1, 2)
    assert values.get("item table", {}).get("with a row") == (1 if "--items" in files[source] else None)
    dataset = datasets.read_dataset(tmp_path / "out")
    assert dataset.interactions["item_id"].unique().sort().to_list() == ["1", "2"]
    if "timestamp" in dataset.interactions.columns:
        assert dataset.interactions["timestamp"].to_list() == [7, 7]
    if "split" in dataset.interactions.columns:
        assert set(dataset.interactions["split"]) <= {"train", "valid", "test"}
    assert dataset.interactions.schema["user_id"] == pl.String


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["yelp", "x", "--preset", "hnlmrec-toys"], ["hnlmrec-toys", "amazon", "yelp"]),
        (["amazon", "nowhere.json", "--year", "2018"], ["nowhere.json"]),
        (["movielens", __file__, "--items", "nowhere.item"], ["nowhere.item"]),
        (["table", "x", "--column", "user_id"], ["--column", "'user_id'"]),
        (["custom", "no_such_module:read", __file__], ["no_such_module"]),
    ],
)
def test_bad_input_gets_one_line(words: list[str], parts: list[str], tmp_path: Path) -> None:
    message = refuse(*words, "--out", tmp_path / "out")
    assert all(part in message for part in parts), message


def test_files_of_another_source_leave_nothing_behind(tmp_path: Path) -> None:
    reviews, _ = toys(tmp_path)
    assert "149 rows without user_id or parent_asin" in refuse(
        "amazon", reviews, "--year", 2023, "--out", tmp_path / "deep" / "out"
    )
    assert not list((tmp_path / "deep").iterdir())


def test_an_open_order_of_day_and_month_is_refused_until_it_is_given(tmp_path: Path) -> None:
    table = put(tmp_path, "us.csv", "user_id,item_id,timestamp\nu,1,05/08/2018\nu,2,10/07/2018\n")
    message = refuse("table", table, "--out", tmp_path / "a")
    assert "'05/08/2018', which is 5 August 2018 or 8 May 2018" in message
    assert message.endswith("say --time-format day-first or month-first")
    succeed("table", table, "--time-format", "month-first", "--out", tmp_path / "b")
    assert datasets.read_dataset(tmp_path / "b").interactions["timestamp"].to_list() == [1525737600, 1538870400]
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["config"]["time_format"] == "month-first"
    put(tmp_path, "us.csv", "user_id,item_id,timestamp\nu,1,05/08/2018\nu,2,12/28/2018\n")
    said = succeed("table", table, "--out", tmp_path / "c")
    assert "times month/day/year, 2018-05-08 00:00:00 to 2018-12-28 00:00:00" in said


def test_iso_times_are_read_whatever_row_comes_first(tmp_path: Path) -> None:
    rows = ["u1,i1,2018-02-01T10:00:00Z\n", "u2,i2,2018-01-31\n", "u3,i3,2018-02-01 10:00:00\n"]
    for name, order in (("a", rows), ("b", rows[::-1])):
        table = put(tmp_path, f"{name}.csv", "user_id,item_id,timestamp\n" + "".join(order))
        succeed("table", table, "--out", tmp_path / name)
        interactions = datasets.read_dataset(tmp_path / name).interactions.sort("user_id")
        assert interactions["timestamp"].to_list() == [1517479200, 1517356800, 1517479200]


@pytest.mark.parametrize("source", ["table", "recbole"])
def test_ids_in_two_spellings_are_found_and_made_one_on_request(tmp_path: Path, source: str) -> None:
    kind, end = (":token", ".inter") if source == "recbole" else ("", ".tsv")
    pairs = put(tmp_path, f"pairs{end}", f"user_id{kind}\titem_id{kind}\n001\t00100\n002\t00101\n002\t0101\n")
    items = put(tmp_path, f"items{end}", f"item_id{kind}\ttitle{kind}\n100\tKettle\n101\tScarf\n")
    command = (source, pairs, "--items", items, "--out")
    said = succeed(*command, tmp_path / "a")
    assert (
        "0 of 3 items of the interactions (0.0%) have a row in the item table; it has '100', the interactions '00100'; "
        "say --normalise-ids integer, so that 2 more match"
    ) in said
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["notes"]["item table"]["with a row"] == 0
    said = succeed(*command, tmp_path / "b", "--normalise-ids", "integer")
    assert "2 of 2 items of the interactions (100.0%) have a row in the item table" in said
    assert "ids in one spelling (integer): 3 items became 2" in said
    dataset = datasets.read_dataset(tmp_path / "b")
    assert dataset.interactions.rows() == [("1", "100"), ("2", "101"), ("2", "101")]
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["config"]["normalise_ids"] == "integer"


def test_ids_of_numbers_with_gaps_match_whole_numbers(tmp_path: Path) -> None:
    """pandas writes a column of numbers with a gap as 1.0, 2.0, NaN."""
    pl.DataFrame({"user_id": [1.0, 2.0, float("nan"), None], "item_id": [10.0, 11.0, 12.0, 10.0]}).write_parquet(
        tmp_path / "pairs.parquet"
    )
    pl.DataFrame({"item_id": [10, 11, 12], "title": ["a", "b", "c"]}).write_parquet(tmp_path / "items.parquet")
    said = succeed(
        "table", tmp_path / "pairs.parquet", "--items", tmp_path / "items.parquet", "--out", tmp_path / "out"
    )
    assert "2 of 2 items of the interactions (100.0%)" in said
    assert "pairs.parquet: 2 rows without an id (first: row 3)" in said
    assert datasets.read_dataset(tmp_path / "out").interactions.rows() == [("1", "10"), ("2", "11")]
