"""Tables in all formats: mapped columns, and reports of bad rows."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.readers import read_table
from hardneg.data.readers.text_format import TextOptions
from hardneg.errors import ConfigError, DataError, HardnegError

NOON = int(datetime(2020, 1, 1, 12, tzinfo=UTC).timestamp())


def put(folder: Path, text: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ------------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.parquet"])
def test_every_format_reads_the_same(tmp_path: Path, name: str) -> None:
    rows = [("user", "item", "rating", "timestamp", "review"), ("7", "x", "4.5", "100", "good"), ("8", "y", "", "", "")]
    if name.endswith("parquet"):
        schema = ["user", "item", "rating", "timestamp", "review"]
        pl.DataFrame(
            [(7, "x", 4.5, 100, "good"), (8, "y", None, None, None)], schema=schema, orient="row"
        ).write_parquet(tmp_path / name)
    else:
        text = "\n".join(("\t" if ".tsv" in name else ",").join(row) for row in rows).encode()
        put(tmp_path, gzip.compress(text) if name.endswith("gz") else text, name)
    data = read_table(tmp_path / name)
    assert data.interactions.schema == {
        "user_id": pl.String,
        "item_id": pl.String,
        "rating": pl.Float64,
        "timestamp": pl.Float64,
        "review": pl.String,
    }
    assert data.interactions.rows() == [("7", "x", 4.5, 100, "good"), ("8", "y", None, None, None)]
    assert data.items.is_empty()
    assert data.row_report == ()


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n', "\n"])
def test_a_line_for_spreadsheets_is_passed_over(tmp_path: Path, first: str) -> None:
    data = read_table(put(tmp_path, f"{first}user;item;rating\na;x;4\nb;y\n"))
    assert data.interactions.rows() == [("a", "x", 4.0)]
    assert "line 4" in str(data.row_report[0])


def test_columns_and_split_values_are_mapped(tmp_path: Path) -> None:
    path = put(tmp_path, "who,what,part\na,1,0\nb,2,1\n")
    columns = {"user_id": "who", "item_id": "what", "split": "part"}
    data = read_table(path, columns=columns, split_values={"0": "train", "1": "test"})
    assert data.interactions.rows() == [("a", "1", "train"), ("b", "2", "test")]


def test_item_texts_keep_their_other_columns_and_join_lists(tmp_path: Path) -> None:
    path = put(tmp_path, "user,item\na,1\n")
    items = pl.DataFrame(
        {"colour": ["red", None], "asin": [1, 2], "name": ["One", None], "categories": [["x", "y"], []]}
    )
    items.write_parquet(tmp_path / "items.parquet")
    data = read_table(path, tmp_path / "items.parquet", item_columns={"item_id": "asin", "title": "name"})
    assert data.items.columns[0] == "item_id"
    assert set(data.items.schema.values()) == {pl.String}
    rows = data.items.select("item_id", "title", "categories", "colour").rows()
    assert rows == [("1", "One", "x, y", "red"), ("2", "", "", "")]


@pytest.mark.parametrize(
    "values", [["2020-01-01 12:00:00", "1577880000"], ["2020-01-01T12:00:00Z", "2020-01-01T12:00:00Z"]]
)
def test_times_in_text_become_seconds_in_utc(tmp_path: Path, values: list[str]) -> None:
    path = put(tmp_path, "user,item,timestamp\n" + "".join(f"a,{n},{v}\n" for n, v in enumerate(values)))
    assert read_table(path).interactions["timestamp"].to_list() == [NOON, NOON]


@pytest.mark.parametrize(
    "value",
    [datetime(2020, 1, 1, 12), datetime(2020, 1, 1, 12, tzinfo=UTC), NOON, float(NOON)],
)
def test_times_of_any_type_become_seconds_in_utc(tmp_path: Path, value: object) -> None:
    pl.DataFrame({"user": ["a"], "item": ["1"], "timestamp": [value]}).write_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").interactions["timestamp"].to_list() == [NOON]


@pytest.mark.parametrize("damaged", ["20-07-07T00:00:00Z", "2020-07-0", "01/02/2020"])
def test_a_damaged_time_among_many_costs_its_row(tmp_path: Path, damaged: str) -> None:
    times = [f"2020-01-{day:02}T12:00:00Z" for day in range(1, 31)] + [damaged]
    path = put(tmp_path, "user,item,timestamp\n" + "".join(f"a,{n},{time}\n" for n, time in enumerate(times)))
    data = read_table(path)
    assert len(data.interactions) == 30
    assert [issue.first for issue in data.row_report] == [f"line 32, timestamp {damaged!r}"]


def test_times_of_other_zones_and_days_are_read(tmp_path: Path) -> None:
    times = pl.Series([NOON * 1000]).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone("Asia/Tokyo")
    frame = pl.DataFrame({"user": ["a"], "item": ["1"], "timestamp": times})
    frame.write_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").interactions["timestamp"].to_list() == [NOON]
    frame.with_columns(timestamp=pl.lit(date(2020, 1, 1))).write_parquet(tmp_path / "b.parquet")
    assert read_table(tmp_path / "b.parquet").interactions["timestamp"].to_list() == [NOON - 12 * 3600]


# ----------------------------------------------------------------------------------------------- a row costs the row


def test_rows_without_an_id_are_left_out_and_reported(tmp_path: Path) -> None:
    path = put(tmp_path, 'user,item\na,1\n,2\n"  ",3\nb,\nc,4\n')
    data = read_table(path)
    assert data.interactions.rows() == [("a", "1"), ("c", "4")]
    (entry,) = data.row_report
    assert (entry.where, entry.count, entry.first) == ("shop.csv", 3, "line 3")


@pytest.mark.parametrize("bad", ["five", "nan", "inf", "1e300", "4,5"])
def test_a_row_with_text_in_a_number_is_left_out_and_reported(tmp_path: Path, bad: str) -> None:
    """Also where earlier rows were left out for other reasons."""
    path = put(tmp_path, f'user,item,rating\n,0,1\na,1,4\n,9,1\nb,2,"{bad}"\nc,3,\nd,4,5\n')
    data = read_table(path)
    assert data.interactions.rows() == [("a", "1", 4.0), ("c", "3", None), ("d", "4", 5.0)]
    _, entry = data.row_report
    assert (entry.where, entry.count, entry.first) == (("shop.csv", 1, f"line 5, rating {bad!r}"))


@pytest.mark.parametrize("bad", ["yesterday", "1e300", "2020-13-45"])
def test_a_row_with_text_in_a_timestamp_is_left_out(tmp_path: Path, bad: str) -> None:
    path = put(tmp_path, f"user,item,timestamp\na,1,{bad}\nb,2,7\nc,3,\n")
    data = read_table(path)
    assert data.interactions.rows() == [("b", "2", 7), ("c", "3", None)]
    (entry,) = data.row_report
    assert entry.count == 1
    assert entry.first == f"line 2, timestamp {bad!r}"


def test_a_whole_column_of_text_is_an_error(tmp_path: Path) -> None:
    path = put(tmp_path, "user,item,rating\na,1,good\nb,2,bad\n")
    with pytest.raises(
        DataError, match=r"shop\.csv: 2 rows without a number as rating \(first: line 2, rating 'good'\)"
    ):
        read_table(path)


def test_a_repeated_item_is_reported_with_its_row(tmp_path: Path) -> None:
    items = put(tmp_path, "item,title\n,Nothing\n1,One\n2,Two\n1,Uno\n", "items.csv")
    data = read_table(put(tmp_path, "user,item\na,1\n"), items)
    assert data.items.rows() == [("1", "One"), ("2", "Two")]
    missing, repeated = data.row_report
    assert (missing.where, missing.count, missing.first) == ("items.csv", 1, "line 2")
    assert (repeated.where, repeated.count, repeated.first) == (("items.csv", 1, "line 5, item '1'"))


# ------------------------------------------------------------------------------------------- one clear line otherwise


def test_a_missing_column_lists_what_is_there_and_how_to_map(tmp_path: Path) -> None:
    path = put(tmp_path, "reviewer,product\na,1\n")
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert message.startswith(f"{path} has no column 'user_id' for user_id, found reviewer, product; ")
    assert message.endswith("map it with --column user_id=THEIRS")


def test_a_mapped_column_that_is_missing_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, "user,item\na,1\n")
    with pytest.raises(
        DataError, match=r"has no column 'stars' for rating, found user, item; map it with --column rating"
    ):
        read_table(path, columns={"rating": "stars"})
    items = put(tmp_path, "name,price\nOne,1\n", "items.csv")
    with pytest.raises(DataError, match=r"items\.csv has no column 'item_id'.*--item-column item_id=THEIRS"):
        read_table(path, items)


def test_an_unknown_column_name_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "user,item\na,1\n")
    with pytest.raises(ConfigError, match=r"found --column stars, expected one of user_id, item_id, rating"):
        read_table(path, columns={"stars": "rating"})


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop\.csv is empty"):
        read_table(put(tmp_path, ""))


def test_a_header_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop\.csv has a header but no rows"):
        read_table(put(tmp_path, "user,item\n"))
    good = put(tmp_path, "user,item\na,1\n")
    with pytest.raises(DataError, match=r"items\.csv has a header but no rows"):
        read_table(good, put(tmp_path, "item,title\n", "items.csv"))


@pytest.mark.parametrize("more", ["", ",rating,timestamp"])
def test_a_table_of_blank_ids_is_refused_with_the_reason(tmp_path: Path, more: str) -> None:
    path = put(tmp_path, f"user,item{more}\n" + (",,4,5\n" if more else ",\n"))
    with pytest.raises(DataError, match=r"found no usable row, .*shop\.csv: 1 row without an id"):
        read_table(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        read_table(tmp_path / "nowhere.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv does not exist"):
        read_table(tmp_path / "folder.csv")


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop\.xlsx"):
        read_table(put(tmp_path, "x", "shop.xlsx"))


def test_an_unreadable_parquet_file_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop\.parquet ") as caught:
        read_table(put(tmp_path, b"PAR1junkPAR1", "shop.parquet"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"user,item\na,1,2\n", r"shop\.csv: 1 row without exactly 2 fields \(first: line 2: 'a,1,2'\)"),
        (b"user,item\n\xff\xfe,1\n", r"shop\.csv: 1 row with bytes that are not utf-8"),
        (b'user,item\n"a,1\n', r"shop\.csv: 1 row with a quote that does not close"),
        (gzip.compress(b"user,item\na,1\n" * 50)[:30], r"shop\.csv is truncated after line 0"),
        (b"PK\x03\x04\n", r"shop\.csv is a ZIP archive or a workbook, .*export it as text"),
    ],
    ids=["more-fields", "no-text", "open-quote", "cut", "workbook"],
)
def test_a_broken_table_is_named_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_table(put(tmp_path, data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"), [("user", [1]), ("rating", [1.0]), ("rating", {"stars": 3}), ("item", b"\xff")]
)
def test_a_nested_column_is_refused(tmp_path: Path, column: str, value: object) -> None:
    frame = {"user": ["a"], "item": ["1"], "rating": [3.0]} | {column: [value]}
    pl.DataFrame(frame).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: column {column}.* holds .*, expected text or numbers"):
        read_table(tmp_path / "a.parquet")


def test_an_item_column_of_binary_values_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"item": ["1"], "picture": [b"\xff"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet: column picture holds Binary"):
        read_table(put(tmp_path, "user,item\na,1\n"), tmp_path / "items.parquet")


# -------------------------------------------------------------------------------------------------- what is understood


@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "pipe"), ("::", "::")]
)
def test_the_summary_says_how_the_files_were_read(tmp_path: Path, delimiter: str, name: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (["qty", "user", "item"], ["1", "a", "x"]))
    items = put(
        tmp_path, "\n".join(delimiter.join(row) for row in (["item", "name", "size"], ["x", "X", "L"])), "b.dat"
    )
    data = read_table(put(tmp_path, text.encode("utf-16"), "a.txt"), items, item_columns={"title": "name"})
    assert data.interactions.rows() == [("a", "x")]
    summary, of_items = data.files["a.txt"], data.files["b.dat"]
    assert (summary.delimiter, summary.encoding, of_items.encoding) == (name, "utf-16", "utf-8")
    assert (summary.columns, summary.unused) == ({"user_id": "user", "item_id": "item"}, ["qty"])
    assert (of_items.columns, of_items.unused) == ({"item_id": "item", "title": "name", "size": "size"}, [])


def test_options_decide(tmp_path: Path) -> None:
    path = put(tmp_path, "user item price\n'M\u00fcller x' i1 '1 2'\n".encode("cp1252"))
    data = read_table(path, options=TextOptions.of("space", "'", "cp1252"))
    assert data.interactions.rows() == [("M\u00fcller x", "i1")]


def test_a_text_without_column_names_is_read_by_number(tmp_path: Path) -> None:
    path = put(tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "u.data")
    with pytest.raises(
        DataError, match=r"has no column names .*'196\\t242.*, as --column user_id=1 --column item_id=2"
    ):
        read_table(path)
    data = read_table(path, columns={"user_id": "1", "item_id": "2", "rating": "3"})
    assert data.interactions.rows() == [("196", "242", 3.0), ("186", "302", 3.0)]
    named = put(tmp_path, "2,1\na,b\n")
    assert read_table(named, columns={"user_id": "1", "item_id": "2"}).interactions.rows() == [("b", "a")]


def test_a_column_named_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop\.csv has the column 'item' twice"):
        read_table(put(tmp_path, "user,item,item\na,1,2\n"))


def test_row_names_without_a_column_name_are_unused(tmp_path: Path) -> None:
    items = put(tmp_path, ",item,title\n0,1,One\n", "items.csv")
    data = read_table(put(tmp_path, ",user,item\n0,a,1\n"), items)
    assert data.items.rows() == [("1", "One")]
    assert data.files["shop.csv"].unused == data.files["items.csv"].unused == ["(without a name)"]


@pytest.mark.parametrize(
    "name", ["_row", "_number", "_place", "_key", "_time", "text", "fields", "line", "row", "index"]
)
@pytest.mark.parametrize("parquet", [False, True])
def test_a_column_may_have_any_name(tmp_path: Path, name: str, parquet: bool) -> None:
    path, items = put(tmp_path, f"user,item,{name}\na,1,x\na,1,y\n"), put(tmp_path, f"{name},item\n2,1\n3,1\n", "i.csv")
    if parquet:
        for file in (path, items):
            pl.read_csv(file).write_parquet(file)
    data = read_table(path, items)
    assert data.interactions.rows() == [("a", "1"), ("a", "1")]
    assert data.items.rows(named=True) == [{"item_id": "1", name: "2"}]


# --------------------------------------------------------------------------------------------------- whatever comes in

cells = st.sampled_from(["a", "b7", " ", "", "3", "-1.5", "nan", "1e400", "2020-01-01", "2020-01-01 10:00", "x y", "ü"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=12))
def test_every_row_is_kept_or_counted(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    path = put(tmp_path, "user,item,rating,timestamp\n" + "".join(",".join(row) + "\n" for row in rows))
    try:
        data = read_table(path)
    except DataError as error:
        assert path.name in str(error)  # noqa: PT017 - whether it raises depends on the rows
        return
    assert len(data.interactions) + sum(entry.count for entry in data.row_report) == len(rows)
    assert not data.interactions.select(pl.any_horizontal(pl.col("user_id", "item_id").is_null())).to_series().any()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["", "user,item\n", "user,item,rating\n", "user,item,timestamp,split\n"]),
    st.binary(max_size=40) | st.text(alphabet='ab12,"\n\r\t;. ', max_size=40).map(str.encode),
    st.sampled_from(["a.csv", "a.tsv", "a.parquet", "a.csv.gz"]),
)
def test_no_file_raises_anything_but_our_errors(tmp_path: Path, head: str, body: bytes, name: str) -> None:
    path = put(tmp_path, head.encode() + body, name)
    try:
        data = read_table(path)
    except HardnegError as error:
        assert name in str(error)  # noqa: PT017 - whether it raises depends on the bytes
        return
    assert len(data.interactions) > 0
    assert data.interactions.columns[:2] == ["user_id", "item_id"]


def test_a_time_format_without_a_timestamp_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "user_id,item_id,bought\na,1,2018-01-31\n")
    with pytest.raises(ConfigError, match="found --time-format, but no column timestamp; map it with --column"):
        read_table(path, time_format="iso")
    assert len(read_table(path, columns={"timestamp": "bought"}, time_format="iso").interactions) == 1
