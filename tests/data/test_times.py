"""Times of every form, against the standard library, and the choice of a format by the column."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data.times import (
    DIGITS,
    EARLIEST,
    NAMES,
    ORDER,
    TimeEvidence,
    TimeFormat,
    parse_times,
    tomorrow,
)
from hardneg.errors import ConfigError, DataError

TEN = datetime(2018, 1, 31, 10, tzinfo=UTC).timestamp()
DAY = datetime(2018, 1, 31, tzinfo=UTC).timestamp()


def choose(values: list[object] | pl.Series) -> TimeFormat:
    evidence = TimeEvidence()
    evidence.add(pl.Series(values))
    return evidence.choose()


def read(*values: object) -> list[float | None]:
    """Read a column in the format that it decides."""
    return parse_times(pl.Series(values), choose(list(values))).to_list()


# ------------------------------------------------------------------------------------------------- values of one format


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2018-01-31", DAY),
        ("2018-01-31T10:00:00Z", TEN),
        ("2018-01-31 10:00:00", TEN),
        ("2018-01-31T10:00", TEN),
        ("2018-01-31T10", TEN),
        (" 2018-01-31t10:00:00z ", TEN),
        ("2018-01-31T10:00:00.25Z", TEN + 0.25),
        ("2018-01-31T10:00:00,250", TEN + 0.25),
        ("2018-01-31T12:00:00+02:00", TEN),
        ("2018-01-31T12:00:00+0200", TEN),
        ("2018-01-31T12:00:00+02", TEN),
        ("2018-01-31T07:30:00-02:30", TEN),
        ("2018-01-31 07:00:00 \N{MINUS SIGN}03:00", TEN),
        ("2018-01-31 10:00:00 UTC", TEN),
        ("20180131T100000Z", TEN),
        ("20180131T1000", TEN),
        ("20180131", DAY),
        ("2018-W05-3", DAY),
        ("2018W053T10", TEN),
        ("2018-031", DAY),
        ("2018-01", DAY - 30 * 86_400),
        ("2018/1/31 10:00", TEN),
        ("2018.01.31", DAY),
        ("2018-01-31 10:00 AM", TEN),
        ("2018-01-30T24:00:00", DAY),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC).timestamp()),
    ],
)
def test_iso_times_are_read_row_by_row(text: str, seconds: float) -> None:
    assert parse_times(pl.Series([text, "2000-01-01"]), TimeFormat()).to_list() == [seconds, 946_684_800]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2018",
        "2018-13-01",
        "2018-02-30",
        "2018-01-31T25:00",
        "2018-01-31T24:01",
        "2018-01-31T10:60",
        "2018-01-31T10:00:61",
        "2018-01-31T10:00:00+25:00",
        "2018-01-31 13:00 PM",
        "2018-01-31 0:00 AM",
        "2018-01-31x",
        "0000-01-01",
        "2018-366",
        "2018-W54-1",
        "31/01/2018",
        "\N{ARABIC-INDIC DIGIT TWO}018-01-31",
        "1517392800",
    ],
)
def test_others_are_no_iso_times(text: str) -> None:
    assert parse_times(pl.Series([text]), TimeFormat()).to_list() == [None]


zones = st.none() | st.builds(lambda m: timezone(timedelta(minutes=m)), st.integers(-1439, 1439))
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones)


@settings(deadline=None)
@given(st.lists(st.tuples(moments, st.sampled_from(["T", " "])), min_size=1, max_size=8))
def test_iso_times_equal_those_of_the_standard_library(rows: list[tuple[datetime, str]]) -> None:
    texts = [moment.isoformat(separator) for moment, separator in rows]
    expected = []
    for text in texts:  # the slow reference
        moment = datetime.fromisoformat(text)
        expected.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    assert parse_times(pl.Series(texts), TimeFormat()).to_list() == pytest.approx(expected, rel=0, abs=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.dates(date(1, 1, 1), date(9999, 12, 31)), min_size=1, max_size=8),
    st.sampled_from(["/", "-", "."]),
    st.sampled_from(["day-first", "month-first"]),
    st.sampled_from(["", " %H:%M", " %H:%M:%S", " %I:%M:%S %p", ", %I:%M %p"]),
    st.times(),
)
def test_dates_of_one_order_equal_those_of_the_standard_library(days, separator, order, clock, time) -> None:
    pattern = separator.join(("%d", "%m", "%Y") if order == "day-first" else ("%m", "%d", "%Y")) + clock
    moments = [datetime.combine(day, time, UTC) for day in days]
    # strftime writes early years without leading zeros.
    texts = [moment.strftime(pattern.replace("%Y", f"{moment.year:04}")) for moment in moments]
    expected = [datetime.strptime(text, pattern).replace(tzinfo=UTC).timestamp() for text in texts]
    assert parse_times(pl.Series(texts), TimeFormat.of(order)).to_list() == expected


@pytest.mark.parametrize(
    ("name", "text", "seconds"),
    [
        ("seconds", "1517392800.25", TEN + 0.25),
        ("milliseconds", "1517392800250", TEN + 0.25),
        ("microseconds", "1517392800250000", TEN + 0.25),
        ("nanoseconds", "1517392800250000000", TEN + 0.25),
        ("seconds", "7", 7.0),
        ("iso", "2018-01-31T10:00", TEN),
        ("day-first", "31/01/2018 10:00", TEN),
        ("day-first", "31.1.18", DAY),
        ("month-first", "1/31/2018 10:00:00 AM", TEN),
        ("month-first", "01-31-2018", DAY),
        ("year-first", "18/1/31", DAY),
        ("day-first", "2018-01-31", DAY),
        ("%d %b %Y %H:%M", "31 Jan 2018 10:00", TEN),
        ("%Y%m%d", "20180131", DAY),
        ("%a %b %d %H:%M:%S %z %Y", "Wed Jan 31 12:00:00 +0200 2018", TEN),
        ("%Y-%m-%d %H:%M:%S.%f", "2018-01-31 10:00:00.250000", TEN + 0.25),
        ("seconds", "2018-01-31", None),
        ("iso", "1517392800", None),
        ("day-first", "01/31/2018", None),
        ("day-first", "01-31/2018", None),
        ("%d %b %Y", "2018-01-31", None),
    ],
)
def test_a_format_that_is_named_decides(name: str, text: str, seconds: float | None) -> None:
    assert parse_times(pl.Series([text]), TimeFormat.of(name)).to_list() == [seconds]


def test_a_pattern_reads_numbers_as_well() -> None:
    for values in (pl.Series([20180131]), pl.Series([20180131.0, None])):
        assert parse_times(values, TimeFormat.of("%Y%m%d"))[0] == DAY


@pytest.mark.parametrize("name", ["dayfirst", "", "%H"])
def test_an_unknown_format_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="found --time-format"):
        TimeFormat.of(name)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_typed_times_need_no_format(unit: str) -> None:
    moments = pl.Series([datetime(2018, 1, 31, 10, 0, 0, 250_000), None]).cast(pl.Datetime(unit))
    tokyo = moments.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    for values in (moments, tokyo):
        assert parse_times(values, TimeFormat()).to_list() == [TEN + 0.25, None]
    assert parse_times(pl.Series([date(2018, 1, 31)]), TimeFormat()).to_list() == [DAY]


def test_fractions_keep_their_order() -> None:
    texts = ["2018-01-31T10:00:00.000001", "2018-01-31T10:00:00.000002", "2018-01-31T10:00:00.5", "1517392800.75"]
    times = read(*texts)
    assert times == sorted(set(times))


# --------------------------------------------------------------------------------------------- the format of a column


@pytest.mark.parametrize(
    ("values", "name", "first"),
    [
        (["1517392800", "1517392801.5"], "Unix seconds", TEN),
        ([1517392800, 7], "Unix seconds", TEN),
        ([1517392800.5], "Unix seconds", TEN + 0.5),
        ([1517392800250], "Unix milliseconds", TEN + 0.25),
        (["1517392800250000"], "Unix microseconds", TEN + 0.25),
        ([1517392800250000000], "Unix nanoseconds", TEN + 0.25),
        (["20180131", "20180201"], DIGITS, DAY),
        ([20180131.0, 20180201.0], DIGITS, DAY),
        (["201801311000"], DIGITS, TEN),
        (["20180131100000"], DIGITS, TEN),
        (["2018-01-31", "2018-02-01T10:00:00Z", "20180131T10"], "ISO 8601", DAY),
        (["2018-01-31", "1517392800"], "ISO 8601 or Unix seconds", DAY),
        (["31/01/2018", "05/06/2018"], "day/month/year", DAY),
        (["01/31/2018", "05/06/2018"], "month/day/year", DAY),
        (["31.1.18", "5.6.18"], "day/month/year", DAY),
        (["18-01-31", "18-06-05"], "year/month/day", DAY),
        (["31/01/2018", "2018-01-31"], "ISO 8601 or day/month/year", DAY),
        (["03/03/2018"], "day/month/year", datetime(2018, 3, 3, tzinfo=UTC).timestamp()),
        ([3, 1, 2], ORDER, 3.0),
        (["0", "17000.5"], ORDER, 0.0),
        ([100_000_000, 200_000_000], "Unix seconds", 1e8),
    ],
)
def test_a_column_decides_its_format(values: list[object], name: str, first: float) -> None:
    assert str(choose(values)) == name
    assert read(*values)[0] == first


SPELLINGS = {
    "iso": "%Y-%m-%dT%H:%M:%S",
    "zone": "%Y-%m-%d %H:%M:%S+00:00",
    "basic": "%Y%m%dT%H%M%SZ",
    "digits": "%Y%m%d%H%M%S",
    "day/month": "%d/%m/%Y %H:%M:%S",
    "month/day": "%m/%d/%y %I:%M:%S %p",
    "points": "%d.%m.%Y, %H:%M:%S",
}


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime(1991, 1, 1), datetime(2025, 12, 31), timezones=st.just(UTC)), max_size=20),
    st.sampled_from([*SPELLINGS, "seconds", "milliseconds", "microseconds", "nanoseconds"]),
)
def test_a_column_is_the_same_in_every_spelling(moments: list[datetime], spelling: str) -> None:
    decisive = datetime(2018, 1, 31, 22, 5, 6, tzinfo=UTC)
    seconds = [int(moment.timestamp()) for moment in (decisive, *moments)]
    if spelling in SPELLINGS:
        texts = [datetime.fromtimestamp(second, UTC).strftime(SPELLINGS[spelling]) for second in seconds]
    else:
        zeros = {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}[spelling]
        texts = [f"{second}{'0' * zeros}" for second in seconds]
    assert read(*texts) == seconds


def test_an_order_of_day_and_month_that_is_open_is_refused_with_both_readings() -> None:
    message = (
        "found '05/08/2018 10:00', which is 5 August 2018 or 8 May 2018, and no date that decides; "
        "say --time-format day-first or month-first"
    )
    with pytest.raises(DataError) as caught:
        read("01/01/2018", "05/08/2018 10:00", "03/09/2018")
    assert str(caught.value) == message
    with pytest.raises(DataError, match=r"18 January 2005 or 5 January 2018.*day-first or year-first"):
        read("18-01-05")


def test_contradictory_dates_are_refused_but_a_single_fault_is_not() -> None:
    with pytest.raises(DataError, match=r"found '(31/01|01/31)/2018' and '(31/01|01/31)/2018' in one column"):
        read("31/01/2018", "01/31/2018")
    times = read(*["12/28/2018"] * 30, "28/12/2018")
    assert times[-1] is None
    assert None not in times[:-1]


def test_a_mix_of_units_is_refused_but_a_single_fault_is_not() -> None:
    with pytest.raises(DataError, match=r"found seconds \(1517392800\) and milliseconds \(1517392800250\)"):
        read(1517392800, 1517392800250)
    assert read(*[1517392800] * 30, 1517392800250)[-1] is None


def test_evidence_of_later_blocks_decides() -> None:
    evidence = TimeEvidence()
    assert evidence.is_empty
    evidence.add(pl.Series(["05/08/2018"]))
    with pytest.raises(DataError):
        evidence.choose()
    evidence.add(pl.Series(["12/28/2018"]))
    assert evidence.choose().date_order == "month-first"


@settings(deadline=None)
@given(st.lists(st.text(alphabet="0123456789/-.:TZ +e", max_size=20) | st.sampled_from(NAMES), max_size=10))
def test_any_text_is_read_or_null(texts: list[str]) -> None:
    values = pl.Series(texts, dtype=pl.String)
    evidence = TimeEvidence()
    evidence.add(values)
    try:
        time_format = evidence.choose()
    except DataError:
        return
    times = parse_times(values, time_format)
    assert times.dtype == pl.Float64
    assert len(times) == len(values)
    assert not times.is_nan().any()


def test_today_is_not_after_tomorrow() -> None:
    now = datetime.now(UTC).timestamp()
    assert EARLIEST < now + 86_400 <= tomorrow() <= now + 2 * 86_400
