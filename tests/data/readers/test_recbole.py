"""RecBole's atomic files."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.readers import open_recbole
from hardneg.errors import ConfigError, DataError, HardnegError

from ..streamed import read_all

INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t4.5\t891717742.0\n"
)
ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "242\tToy Story\t1995\tAnimation Children's\n302\tGoldenEye\t1995\t\n9\tOther\t1995\tDrama\n"
)


def put(folder: Path, text: str, name: str = "a.inter") -> Path:
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_interactions_and_items(tmp_path: Path, ending: str) -> None:
    data = read_all(
        open_recbole({"train": put(tmp_path, INTER, "a.inter" + ending)}, put(tmp_path, ITEM, "a.item" + ending))
    )
    assert data.interactions.rows(named=True) == [
        {"user_id": "196", "item_id": "242", "rating": 3.0, "timestamp": 881250949},
        {"user_id": "186", "item_id": "302", "rating": 4.5, "timestamp": 891717742},
    ]
    assert data.items.rows(named=True) == [
        {"item_id": "242", "title": "Toy Story", "categories": "Animation Children's", "release_year": "1995"},
        {"item_id": "302", "title": "GoldenEye", "categories": "", "release_year": "1995"},
    ]
    assert [entry.reason for entry in data.row_report] == ["of items without interactions"]


def test_only_ids_are_needed_in_any_order(tmp_path: Path) -> None:
    data = read_all(
        open_recbole({"train": put(tmp_path, "item_id:token\tw:float_seq\tuser_id:token\n1\t.1 .2\ta\n2\t\tb")})
    )
    assert data.interactions.rows(named=True) == [{"user_id": "a", "item_id": "1"}, {"user_id": "b", "item_id": "2"}]


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    files = {part: put(tmp_path, INTER, f"a.{part}.inter") for part in ("train", "valid", "test")}
    data = read_all(open_recbole(files))
    assert data.interactions["split"].to_list() == ["train", "train", "valid", "valid", "test", "test"]


def test_fields_are_mapped(tmp_path: Path) -> None:
    inter = put(tmp_path, "reader:token\tbook:token\tscore:float\n1\t2\t3\n")
    item = put(tmp_path, "book:token\tname:token_seq\ttitle:token_seq\n2\tMoby\tDick\n", "a.item")
    columns = {"user_id": "reader", "item_id": "book", "rating": "score"}
    data = read_all(
        open_recbole({"train": inter}, item, columns=columns, item_columns={"item_id": "book", "title": "name"})
    )
    assert data.interactions.rows() == [("1", "2", 3.0)]
    assert data.items.rows(named=True) == [{"item_id": "2", "title": "Moby"}]
    with pytest.raises(DataError, match=r"a\.inter has no column 'user_id' for user_id, found reader, book, score"):
        read_all(open_recbole({"train": inter}))
    with pytest.raises(DataError, match=r"has no column 'x' for rating, .*--column rating=THEIRS"):
        read_all(open_recbole({"train": inter}, columns={**columns, "rating": "x"}))
    with pytest.raises(ConfigError, match="found --column stars, expected one of user_id"):
        read_all(open_recbole({"train": inter}, columns={**columns, "stars": "x"}))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id,item_id", r"has 'user_id' in its header, expected name:type with a type of token, token_seq"),
        ("user_id\titem_id", "has 'user_id' in its header"),
        ("user_id:token\titem_id:int", "has 'item_id:int' in its header"),
        ("user_id:token\titem_id:token\titem_id:token", "has the column 'item_id' twice"),
    ],
)
def test_another_header_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_all(open_recbole({"train": put(tmp_path, header + "\n1\t2\n")}))


def test_only_bad_lines_are_left_out_and_reported(tmp_path: Path) -> None:
    text = INTER + "\n1\t2\t3\n1\t\t3\t4\n1\t2\tx\t4\n\t\t\t\n1\t2\t\t\n"
    data = read_all(open_recbole({"train": put(tmp_path, text)}))
    assert data.interactions.rows()[2:] == [("1", "2", None, None)]
    assert [(entry.where, entry.count, entry.first) for entry in data.row_report] == [
        ("a.inter", 1, "line 5: '1\\t2\\t3'"),
        ("a.inter", 1, "line 6"),
        ("a.inter", 1, "line 7, rating 'x'"),
    ]


words = st.sampled_from(["0", "3.5", "x", "", " ", "é", "nan", "-1"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(words, min_size=1, max_size=4), max_size=10))
def test_every_line_is_kept_or_counted(tmp_path: Path, rows: list[list[str]]) -> None:
    path = put(tmp_path, "user_id:token\titem_id:token\trating:float\n" + "\n".join("\t".join(row) for row in rows))
    written = [row for row in rows if "\t".join(row).strip()]
    good = [
        (row[0], row[1], float(row[2]) if row[2].strip() else None)
        for row in written
        if len(row) == 3 and {*row[:2]}.isdisjoint({"", " ", "nan"}) and row[2] in ("0", "3.5", "-1", "", " ")
    ]
    if not good:
        with pytest.raises(DataError, match="found no usable row"):
            read_all(open_recbole({"train": path}))
        return
    data = read_all(open_recbole({"train": path}))
    assert data.interactions.rows() == good
    assert len(data.interactions) + sum(entry.count for entry in data.row_report) == len(written)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40), st.booleans())
def test_no_file_raises_anything_but_our_errors(tmp_path: Path, data: bytes, after_header: bool) -> None:
    path = tmp_path / "a.inter"
    path.write_bytes(b"user_id:token\titem_id:token\n" * after_header + data)
    try:
        assert isinstance(read_all(open_recbole({"train": path})).interactions, pl.DataFrame)
    except HardnegError as error:
        assert "\n" not in str(error)  # noqa: PT017 - whether it raises depends on the bytes
