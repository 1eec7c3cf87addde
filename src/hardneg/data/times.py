"""Times as seconds since 1970 (UTC), from strings, numbers and dates.

A format is chosen for a whole column, from what its values allow (`TimeEvidence`); values are then read row by row.
Dates that begin with a year of four digits (ISO 8601) mean the same in every column. Numbers share one unit. Other dates
share one order of day, month and year.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import polars as pl

from hardneg.errors import ConfigError, DataError

DateOrder = Literal["day-first", "month-first", "year-first"]
"""Order of the parts of a date with slashes, points or hyphens. year-first: the year has two digits."""
PER_SECOND = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
"""Units of Unix time."""
NAMES = (*PER_SECOND, "iso", *get_args(DateOrder))
"""Named formats; any other is a pattern of `strptime`."""
DIGITS, ORDER = "YYYYMMDD", "numbers that only give an order"
"""Other meanings of numbers: a date, also with HHMM or HHMMSS; too small for a time since 1973."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
"""Times before are questioned, and those after `tomorrow`."""
CALENDAR = (datetime(1, 1, 1, tzinfo=UTC).timestamp(), datetime(9999, 12, 31, tzinfo=UTC).timestamp() + 86_399.999)
"""First and last time that can be read."""
SMALLEST_TIME = 1e8
"""Numbers of a column only give an order if all are smaller."""
RARE = 20
"""A reading that fewer than one value in RARE needs is taken for a fault of these values."""

_TIME = (
    r"(?:(?:[Tt]|,?\s+)(?P<hour>[0-9]{1,2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]+))?)?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?"
    r"\s*(?:Z|z|UTC|GMT|(?P<sign>[+\x{2212}-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)?$"
)
"""Time of day and zone, both optional."""
_YEAR = {  # pattern of a date that begins with its year -> format of its parts, joined with hyphens
    r"^(?P<a>[0-9]{4})[-/.](?P<b>[0-9]{1,2})[-/.](?P<c>[0-9]{1,2})": "%Y-%m-%d",
    r"^(?P<a>[0-9]{4})(?P<b>[0-9]{2})(?P<c>[0-9]{2})": "%Y-%m-%d",
    r"^(?P<a>[0-9]{4})-?W(?P<b>[0-9]{2})-?(?P<c>[1-7])": "%G-%V-%u",
    r"^(?P<a>[0-9]{4})-(?P<b>[0-9])(?P<c>[0-9]{2})": "%Y-%j",
    r"^(?P<a>[0-9]{4})-(?P<b>[0-9]{2})(?P<c>)": "%Y-%m-%d",
}
_DIGITS = (
    r"^(?P<a>[0-9]{4})(?P<b>[0-9]{2})(?P<c>[0-9]{2})(?:(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})(?P<second>[0-9]{2})?)?$"
)
_DATE = r"^(?P<a>[0-9]{1,2})(?P<one>[-/.])(?P<b>[0-9]{1,2})(?P<other>[-/.])(?P<c>[0-9]{4}|[0-9]{2})"
_DATE_ALONE = r"^([0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2}))(?:[Tt,\s]|$)"
_ORDERS: dict[DateOrder, tuple[str, ...]] = {
    "day-first": ("c", "b", "a"),
    "month-first": ("c", "a", "b"),
    "year-first": ("a", "b", "c"),
}
"""Groups of _DATE that are year, month and day."""
_ORDER_TEXTS = {"day-first": "day/month/year", "month-first": "month/day/year", "year-first": "year/month/day"}


@dataclass(frozen=True)
class TimeFormat:
    """Way in which a column writes times.

    unit: meaning of numbers, if they are times: a name in PER_SECOND, DIGITS or ORDER. date_order: that of dates which
    do not begin with a year of four digits, if they are times. iso: those which do are times. pattern: of all values.
    """

    unit: str | None = None
    date_order: DateOrder | None = None
    iso: bool = True
    pattern: str | None = None

    @classmethod
    def of(cls, name: str) -> TimeFormat:
        """Return the format of a name in NAMES or of a pattern."""
        if name in PER_SECOND:
            return cls(unit=name, iso=False)
        if name in _ORDERS:
            return cls(date_order=name)
        if name == "iso":
            return cls()
        if "%" not in name:
            raise ConfigError(
                f"found --time-format {name!r}, expected {', '.join(NAMES)} or a pattern such as '%d.%m.%Y %H:%M'"
            )
        _parse_pattern(pl.Series(["2018-01-31"]), name)
        return cls(iso=False, pattern=name)

    def __str__(self) -> str:
        """Return the format in words."""
        unit = f"Unix {self.unit}" if self.unit in PER_SECOND else self.unit
        order = _ORDER_TEXTS.get(self.date_order or "")
        return self.pattern or " or ".join(text for text in ("ISO 8601" if self.iso else None, unit, order) if text)


def tomorrow() -> float:
    """Return the end of the day after today, in seconds since 1970 (UTC)."""
    return datetime.now(UTC).timestamp() // 86_400 * 86_400 + 2 * 86_400


def is_dated(values: pl.Series) -> bool:
    """Return True for dates and date-times, which need no format."""
    return values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime)


def parse_times(values: pl.Series, time_format: TimeFormat) -> pl.Series:
    """Return (rows,) seconds since 1970 (UTC) as Float64, null where a value is no time of this format.

    values: strings, numbers, dates or date-times; the last two need no format. A time without a zone is in UTC.
    """
    if values.dtype == pl.Date:
        return values.cast(pl.Int64).cast(pl.Float64) * 86_400
    if isinstance(values.dtype, pl.Datetime):
        per_second = {"ms": 1e3, "us": 1e6, "ns": 1e9}[values.dtype.time_unit]
        return _divide(values.cast(pl.Int64), per_second)
    if time_format.pattern is not None:
        times = _parse_pattern(_spell(values), time_format.pattern)
    elif time_format.unit == DIGITS:
        times = _parse(_spell(values), _DIGITS, ("a", "b", "c"))
    elif time_format.unit is not None:
        times = _divide(values, PER_SECOND.get(time_format.unit, 1.0))
    else:
        times = pl.repeat(None, len(values), dtype=pl.Float64, eager=True)
    if not values.dtype.is_numeric():
        times = _parse_texts(times, values.cast(pl.String), time_format)
    return times.set(~times.is_between(*CALENDAR).fill_null(value=False), None).alias(values.name)


def _parse_texts(times: pl.Series, values: pl.Series, time_format: TimeFormat) -> pl.Series:
    """Parse the dates among the values that have no time yet."""
    if time_format.iso:
        for pattern, date_format in _YEAR.items():
            times = _fill(times, values, pattern + _TIME, ("a", "b", "c"), date_format)
    if time_format.date_order is not None:
        times = _fill(times, values, _DATE + _TIME, _ORDERS[time_format.date_order])
    return times


def to_numbers(values: pl.Series) -> pl.Series:
    """Return (rows,) values as Float64, null where a value is no finite number."""
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(value=False), None)


def _divide(values: pl.Series, size: float) -> pl.Series:
    """Return (rows,) numbers divided by the units of a second, correctly rounded.

    values: strings or numbers. Whole numbers are divided as such, since a Float64 has no room for nanoseconds; polars
    would multiply numbers by the inverse and round twice.
    """
    numbers = to_numbers(values)
    seconds = pl.Series(values.name, numbers.to_numpy() / size, nan_to_null=True)
    if size <= 1e6 or values.dtype.is_float():
        return seconds
    texts = values.str.strip_chars() if values.dtype == pl.String else values
    whole = texts.cast(pl.Int64, strict=False)
    exact = whole // int(size) + (whole % int(size)).cast(pl.Float64).to_numpy() / size
    return pl.Series(values.name, exact, nan_to_null=True).fill_null(seconds)


def _spell(values: pl.Series) -> pl.Series:
    """Return (rows,) values as strings, whole numbers without a point."""
    if values.dtype.is_float():
        return values.cast(pl.Int64, strict=False).cast(pl.String)
    return values.cast(pl.String).str.strip_chars()


def _fill(
    times: pl.Series, values: pl.Series, pattern: str, date: tuple[str, ...], date_format: str = "%Y-%m-%d"
) -> pl.Series:
    rows = times.is_null().arg_true()
    if rows.is_empty():
        return times
    return times.scatter(rows, _parse(values.gather(rows).str.strip_chars(), pattern, date, date_format))


def _parse_pattern(values: pl.Series, pattern: str) -> pl.Series:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            times = values.str.to_datetime(pattern.replace(".%f", "%.f"), time_unit="us", strict=False)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(
            f"found --time-format {pattern!r}, expected a pattern of a date ({str(error).splitlines()[0]})"
        ) from None
    return _divide(times.cast(pl.Int64), 1e6)


def _parse(values: pl.Series, pattern: str, date: tuple[str, ...], date_format: str = "%Y-%m-%d") -> pl.Series:
    """Return (rows,) seconds of strings without white space around.

    pattern: with groups a, b, c and those of _TIME. date: groups that are year, month and day.
    """
    groups = values.alias("value").to_frame().select(pl.col("value").str.extract_groups(pattern)).unnest("value")
    if "one" in groups.columns:
        groups = groups.with_columns(pl.when(pl.col("one") == pl.col("other")).then(pl.col("a")).alias("a"))
    year, month, day = (pl.col(name) for name in date)
    if len(date_format) == 5:  # %Y-%j
        text = pl.concat_str(year, pl.lit("-"), month, day)
    else:
        short, century = year.str.len_bytes() == 2, pl.when(year < "69").then(pl.lit("20")).otherwise(pl.lit("19"))
        year = pl.when(short).then(pl.concat_str(century, year)).otherwise(year)
        text = pl.concat_str(year, pl.lit("-"), month, pl.lit("-"), pl.when(day == "").then(pl.lit("1")).otherwise(day))
    days = text.str.to_date(date_format, strict=False).cast(pl.Int64)
    seconds = days * 86_400 + _seconds_of_day(groups.columns) - _seconds_of_zone(groups.columns)
    part = pl.concat_str(pl.lit("0."), pl.col("part")).cast(pl.Float64) if "part" in groups.columns else pl.lit(0.0)
    return groups.select((seconds.cast(pl.Float64) + part.fill_null(0.0)).alias(values.name))[values.name]


def _seconds_of_day(groups: list[str]) -> pl.Expr:
    hour, minute, second = (_whole(name, groups) for name in ("hour", "minute", "second"))
    if "half" in groups:
        is_pm = pl.col("half").str.to_lowercase() == "p"
        noon = pl.when(hour.is_between(1, 12)).then(hour % 12 + 12 * is_pm.cast(pl.Int64))
        hour = pl.when(pl.col("half").is_null()).then(hour).otherwise(noon)
    seconds = hour * 3600 + minute * 60 + second
    # Midnight may be 24:00, and a leap second 60.
    valid = (hour < 24) & (minute < 60) & (second <= 60) | (seconds == 86_400) & (hour == 24)
    return pl.when(valid).then(seconds)


def _seconds_of_zone(groups: list[str]) -> pl.Expr:
    if "sign" not in groups:
        return pl.lit(0)
    hours, minutes = (_whole(name, groups) for name in ("hours", "minutes"))
    seconds = (hours * 3600 + minutes * 60) * pl.when(pl.col("sign") == "+").then(1).otherwise(-1)
    return pl.when((hours < 24) & (minutes < 60)).then(seconds)


def _whole(name: str, groups: list[str]) -> pl.Expr:
    return pl.col(name).cast(pl.Int64).fill_null(0) if name in groups else pl.lit(0, pl.Int64)


@dataclass
class TimeEvidence:
    """Counts of the formats that the values of a column fit, added block by block.

    units: unit -> number of values that are a time from 1990 to tomorrow in it. numbers, large, iso: numbers of values
    that are numbers, numbers from SMALLEST_TIME, and dates that begin with the year. dates: other date -> count.
    firsts: unit or date -> first value.
    """

    units: dict[str, int] = field(default_factory=dict)
    numbers: int = 0
    large: int = 0
    iso: int = 0
    dates: dict[str, int] = field(default_factory=dict)
    firsts: dict[str, str] = field(default_factory=dict)

    def add(self, values: pl.Series) -> None:
        """Count further values, without blank ones: strings or numbers."""
        if not values.dtype.is_numeric():
            values = values.cast(pl.String)
        numbers = to_numbers(values)
        is_number = numbers.is_not_null()
        self._add_numbers(values.filter(is_number), numbers.drop_nulls())
        if values.dtype == pl.String and not is_number.all():
            self._add_strings(values.filter(~is_number).str.strip_chars())

    def _add_numbers(self, values: pl.Series, numbers: pl.Series) -> None:
        self.numbers += len(numbers)
        self.large += int((numbers.abs() >= SMALLEST_TIME).sum())
        end = tomorrow()
        fits = {unit: numbers.is_between(EARLIEST * size, end * size) for unit, size in PER_SECOND.items()}
        # A date of 8, 12 or 14 digits; no number of this size is a time from 1990 to tomorrow in any unit.
        sizes = [(1.9e7 * size, 2.2e7 * size) for size in (1, 1e4, 1e6)]
        digits = pl.select(pl.any_horizontal(pl.lit(numbers).is_between(*size) for size in sizes)).to_series()
        if digits.any():
            times = parse_times(values.filter(digits), TimeFormat(DIGITS)).is_between(EARLIEST, end)
            fits[DIGITS] = digits.scatter(digits.arg_true(), times.fill_null(value=False))
        for unit, flags in fits.items():
            if count := int(flags.sum()):
                self.units[unit] = self.units.get(unit, 0) + count
                self.firsts.setdefault(unit, str(values.filter(flags)[0]))

    def _add_strings(self, values: pl.Series) -> None:
        dates = values.str.extract(_DATE_ALONE)
        others = values.filter(dates.is_null())
        self.iso += int(parse_times(others, TimeFormat()).is_not_null().sum())
        table = pl.DataFrame({"date": dates, "value": values}).drop_nulls()
        grouped = table.group_by("date", maintain_order=True).agg(pl.col("value").first(), pl.len())
        for date, value, count in grouped.iter_rows():
            self.dates[date] = self.dates.get(date, 0) + count
            self.firsts.setdefault(date, value)

    @property
    def is_empty(self) -> bool:
        """True if no value could be a time so far."""
        return not (self.numbers or self.iso or self.dates)

    def choose(self) -> TimeFormat:
        """Return the format. Raises DataError where the values allow several, or share none."""
        unit, date_order = self._choose_unit(), self._choose_order()
        return TimeFormat(unit, date_order, iso=self.iso > 0 or unit is date_order is None)

    def _choose_unit(self) -> str | None:
        if self.units:
            unit = max(self.units, key=self.units.__getitem__)
            others = [name for name in self.units if name != unit]
            if sum(self.units[name] for name in others) * RARE > self.units[unit]:
                texts = " and ".join(f"{name} ({self.firsts[name]})" for name in (unit, *others))
                raise DataError(f"found {texts} in one column, expected one unit; convert them or say --time-format")
            return unit
        if self.numbers == 0 or self.iso or self.dates:
            return None
        return "seconds" if self.large * 2 > self.numbers else ORDER

    def _choose_order(self) -> DateOrder | None:
        if sum(self.dates.values()) * RARE <= self.iso:  # a few damaged dates cost their rows
            return None
        table = pl.DataFrame({"date": list(self.dates), "n": list(self.dates.values())}).with_columns(
            _parse_date(list(self.dates), order).alias(order) for order in _ORDERS
        )
        counts = {order: table.filter(pl.col(order).is_not_null())["n"].sum() for order in _ORDERS}
        best = max(counts, key=counts.__getitem__)
        for other in _ORDERS:
            if other != best:
                self._refute(table, best, other)
        return best if counts[best] else None

    def _refute(self, table: pl.DataFrame, best: DateOrder, other: DateOrder) -> None:
        """Raise DataError unless the dates show that their order is `best` and not `other`, or the same in both."""
        only_best = table.filter(pl.col(best).is_not_null() & pl.col(other).is_null())
        only_other = table.filter(pl.col(other).is_not_null() & pl.col(best).is_null())
        if (n_best := only_best["n"].sum()) and only_other["n"].sum() * RARE <= n_best:
            return
        if not only_other.is_empty():
            texts = [f"{self.firsts[rows['date'][0]]!r}" for rows in (only_best, only_other) if len(rows)]
            raise DataError(
                f"found {' and '.join(texts)} in one column, expected one order; "
                f"correct them or say --time-format {best} or {other}"
            )
        if differing := table.filter(pl.col(best) != pl.col(other))["date"].head(1).to_list():
            texts = [_render_date(_parse_date(differing, order)[0]) for order in (best, other)]
            raise DataError(
                f"found {self.firsts[differing[0]]!r}, which is {' or '.join(texts)}, and no date that decides; "
                f"say --time-format {best} or {other}"
            )


def _parse_date(dates: list[str], order: DateOrder) -> pl.Series:
    """Return (dates,) seconds; null for no date, and for a year of two digits that is not from 1990 to tomorrow."""
    texts = pl.Series(dates, dtype=pl.String)
    times = _parse(texts, _DATE + "$", _ORDERS[order])
    is_long = texts.str.contains(r"[0-9]{4}$")
    return times.set(~(is_long | times.is_between(EARLIEST, tomorrow())).fill_null(value=False), None)


def _render_date(seconds: float) -> str:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{day.day} {day:%B %Y}"
