"""Times of a file in blocks: what is left out, what is kept with a remark, and what stops the import."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hardneg.data.dataset import ROW
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeFormat
from hardneg.errors import ConfigError, DataError

PATH = Path("folder/shop.csv")


def read(*blocks: list[object], name: str = "") -> tuple[list[float | None], RowCounter]:
    """Read a column in blocks; return the times kept and the counter."""
    counter = RowCounter()
    column = TimeColumn(PATH, counter, TimeFormat.of(name) if name else None)
    column.choose(pl.Series(block) for block in blocks)
    times, row = [], 2
    for block in blocks:
        frame = pl.DataFrame({"timestamp": block}).with_row_index(ROW, offset=row)
        times += column.read(frame)["timestamp"].to_list()
        row += len(block)
    column.finish()
    return times, counter


def test_an_unreadable_time_costs_its_row_and_a_blank_one_does_not() -> None:
    times, counter = read(["2018-01-31", "x", "", None], [" ", "nan", "2018-02-30", "1990-01-01"])
    assert times == [1517356800, None, None, None, None, 631152000]
    (entry,) = counter.row_report
    assert str(entry) == (
        "shop.csv: 2 rows without a time as timestamp (first: line 3, timestamp 'x'); they were left out"
    )
    summary = counter.file("shop.csv")
    assert summary.remarks == [
        "4 rows without a timestamp (first: line 4, timestamp ''); kept, but a split by time needs one"
    ]
    assert (summary.time_format, summary.first_time, summary.last_time) == ("ISO 8601", 631152000, 1517356800)


def test_nan_is_no_time() -> None:
    times, counter = read([1517356800.0, float("nan"), None])
    assert times == [1517356800, None, None]
    assert counter.row_report == ()


def test_few_unlikely_times_are_kept_and_named() -> None:
    times, counter = read(["2018-01-31"] * 4 + ["1970-01-01", "1989-12-31", "2345-01-01", "1970-01-01"])
    assert len(times) == 8
    assert counter.file("shop.csv").remarks == [
        "2 rows of timestamp 1970-01-01 00:00, which often means an unknown time "
        "(first: line 6, timestamp '1970-01-01'); kept; check them",
        "1 row before 1990 (first: line 7, timestamp '1989-12-31'); kept; check them",
        "1 row after tomorrow (first: line 8, timestamp '2345-01-01'); kept; check them",
    ]


@pytest.mark.parametrize("values", [["1975-01-01", "2018-01-31", "2345-01-01"], [150_000_000, 160_000_000]])
def test_mostly_unlikely_times_need_a_format(values: list[object]) -> None:
    with pytest.raises(DataError, match=r"2 of . values are before 1990 or after tomorrow.*say --time-format"):
        read(values)
    name = "seconds" if isinstance(values[0], int) else "iso"
    assert len(read(values, name=name)[0]) == len(values)


def test_mostly_unreadable_times_need_a_format() -> None:
    with pytest.raises(DataError) as caught:
        read(["5 Jan 2018", "6 Jan 2018", "2018-01-31"])
    assert str(caught.value).startswith(
        f"{PATH}: column timestamp: 2 of 3 values are no time (first: line 2, timestamp '5 Jan 2018'), expected times; "
    )
    assert "--time-format" in str(caught.value)
    assert len(read(["5 Jan 2018", "6 Jan 2018", "2018-01-31"], name="%d %b %Y")[0]) == 2


def test_small_numbers_only_give_an_order() -> None:
    times, counter = read([3, 1], [2])
    assert times == [3, 1, 2]
    summary = counter.file("shop.csv")
    assert summary.time_format == "numbers that only give an order"
    assert (summary.first_time, summary.remarks) == (None, [])


def test_unknown_times_at_the_top_do_not_decide() -> None:
    times, counter = read([0, 0], [1517356800250])
    assert times == [0, 0, 1517356800.25]
    assert counter.file("shop.csv").time_format == "Unix milliseconds"


def test_a_column_without_times_has_no_format() -> None:
    times, counter = read(["", None], [" "])
    assert times == [None, None, None]
    assert counter.file("shop.csv").time_format == ""


def test_later_blocks_decide_the_order_of_day_and_month_for_earlier_ones() -> None:
    assert read(["05/08/2018"], ["12/28/2018"])[0] == [1525737600, 1545955200]
    with pytest.raises(DataError, match=r"shop\.csv: column timestamp: found '05/08/2018', which is 5 August"):
        read(["05/08/2018"], ["06/07/2018"])


def test_unlikely_dates_of_a_typed_column_are_only_named() -> None:
    counter = RowCounter()
    column = TimeColumn(PATH, counter)
    dates = pl.Series(["1975-01-31"]).str.to_date()
    column.choose([dates])
    column.read(pl.DataFrame({ROW: [1], "timestamp": dates}))
    column.finish()
    assert counter.file("shop.csv").remarks[0].startswith("1 row before 1990")


def test_a_format_for_dates_that_need_none_is_refused() -> None:
    dates = pl.Series(["2018-01-31"]).str.to_date()
    frame = pl.DataFrame({ROW: [1], "timestamp": dates})
    with pytest.raises(ConfigError, match="holds Date, which needs no --time-format"):
        TimeColumn(PATH, RowCounter(), TimeFormat()).read(frame)


def test_a_format_that_no_value_has_is_named() -> None:
    with pytest.raises(DataError, match=r"none of 2 values is a time as %d-%m-%Y \(first: line 2, timestamp '31\.1"):
        read(["31.1.2018", "", "28.2.2018"], name="%d-%m-%Y")
    assert read(["31-01-2018", "28.2.2018"], name="%d-%m-%Y")[0] == [1517356800]
