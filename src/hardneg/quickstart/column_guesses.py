"""Meaning of the columns of two tables, by their names and values; where two readings are possible, a question.

The ids of items are recognised by the values that both tables share. Other columns are recognised by name. A column of times
counts only if its values can be read as times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW
from hardneg.data.ids import is_blank, spell_ids
from hardneg.data.readers.column_names import ColumnChoice
from hardneg.data.readers.table import open_table_file
from hardneg.data.readers.text_format import TextOptions
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeEvidence, TimeFormat, is_dated, parse_times, to_numbers
from hardneg.errors import ConfigError, DataError

SAMPLED_ROWS = 500_000
"""Rows of a table whose values are looked at."""
SHARED = 0.5
"""Share of the ids of the first table that a column of the second must have to be their key."""
DISTINCT = 0.95
"""Share of rows with a value of their own from which a column may be a key."""
READABLE = 0.95
"""Share of the values that must be readable as times, or numbers."""
RECBOLE = re.compile(r"(.+):(?:token|token_seq|float|float_seq)")
OWN = {c.USER_ID: "the customer or user", c.ITEM_ID: "the product or item", c.TIMESTAMP: "the time"}

_USERS = "user_id user customer_id customer buyer_id buyer client_id client reviewer_id reviewer shopper_id shopper"
_USERS += (
    " member_id member account_id account visitor_id visitor person_id person profile_id uid userid customerid email"
)
_ITEMS = "item_id item product_id product sku article_id article asin parent_asin isbn movie_id movie book_id book business_id"
_ITEMS += " song_id track_id game_id app_id recipe_id news_id iid itemid productid stock_code stockcode ean upc"
_TIMES = (
    "timestamp time date datetime ordered_at order_date purchased_at purchase_date created_at event_time review_date"
)
_TIMES += " reviewed_at invoice_date unix_review_time posted sold_at day"
_TITLES = (
    "title name product_name item_name product_title movie_title app_name label product item article movie book game"
)
INTERACTION_NAMES = {
    c.USER_ID: tuple(_USERS.split()),
    c.ITEM_ID: tuple(_ITEMS.split()),
    c.TIMESTAMP: tuple(_TIMES.split()),
    c.RATING: ("rating", "ratings", "stars", "score", "overall", "recommend", "recommended", "liked"),
    c.REVIEW: ("review", "review_text", "reviewtext", "comment"),
}
ITEM_NAMES = {
    c.TITLE: tuple(_TITLES.split()),
    c.BRAND: ("brand", "manufacturer", "vendor", "maker", "developer", "publisher", "author", "artist"),
    "categories": ("categories", "category", "genres", "genre", "class", "department", "product_type", "type"),
    "attributes": ("attributes", "tags", "features", "specs", "keywords"),
    "description": ("description", "product_description", "details", "summary", "about", "body", "text", "short_text"),
}
"""Our name -> names in files, by priority, lower case with underscores."""
TIME_ENDINGS = ("_at", "_date", "_time", "_timestamp")


@dataclass(frozen=True)
class Question:
    """A choice among several readings. flags: the option that chooses each reading, in their order."""

    text: str
    readings: tuple[str, ...]
    flags: tuple[str, ...]


Choose = Callable[[Question], str]
"""Return one of the readings of a question."""


class ColumnMapping(Config):
    """Options of the import: the format of the tables, and our name -> theirs of both."""

    source: Literal["table", "recbole"]
    columns: dict[str, str]
    item_columns: dict[str, str]
    time_format: str | None = None
    remarks: tuple[str, ...] = ()
    """Columns that were left out, and questions with their answers."""

    def lines(self, orders: str, products: str | None) -> list[str]:
        """Return the mapping as text, a line for each table, and the remarks. orders, products: names of the tables."""
        tables = [(orders, self.columns), *([] if products is None else [(products, self.item_columns)])]
        texts = [
            f"{name}: {', '.join(f'{ours} = {theirs}' for ours, theirs in table.items())}" for name, table in tables
        ]
        return [*texts, *self.remarks]


@dataclass(frozen=True)
class _Table:
    """The first rows of a table. option: of the command line that names its columns."""

    path: Path
    frame: pl.DataFrame
    is_recbole: bool
    option: str
    used: dict[str, str] = field(default_factory=dict)

    def named(self, names: Sequence[str]) -> list[str]:
        """Return the columns with one of these names that have no meaning yet, by priority."""
        free = {_plain(name): name for name in reversed(self.frame.columns) if name not in self.used.values()}
        return [free[name] for name in names if name in free]

    def ids(self, column: str) -> pl.Series:
        """Return the distinct ids of a column, blank ones left out."""
        frame = self.frame.select(spell_ids(column, self.frame.schema[column]))
        return frame.filter(~is_blank(column))[column].unique()

    def scalars(self) -> list[str]:
        """Return the columns that have no meaning yet and hold one value a row."""
        free = (name for name in self.frame.columns if name not in self.used.values())
        return [name for name in free if not self.frame.schema[name].is_nested()]

    def question(self, ours: str, readings: Sequence[str]) -> Question:
        """Return the question which column has a meaning."""
        text = f"Which column of {self.path.name} is {OWN[ours]}"
        return Question(text, tuple(readings), tuple(f"{self.option} {ours}={name}" for name in readings))


def guess_columns(
    orders: Path,
    products: Path | None,
    choose: Choose,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    time_format: str | None = None,
    options: TextOptions | None = None,
) -> ColumnMapping:
    """Return the meaning of the columns of a table of interactions and one of items.

    columns, item_columns, time_format: as the user says; the rest is guessed. choose: called for every question. Raises
    ConfigError where no column can be the user or the item.
    """
    answers = list[str]()

    def ask(question: Question) -> str:
        reading = choose(question)
        others = [flag for flag, other in zip(question.flags, question.readings, strict=True) if other != reading]
        answers.append(f"{question.text}? {reading}; else {' or '.join(others)}")
        return reading

    choice = ColumnChoice(columns or {}, tuple(INTERACTION_TYPES), (c.USER_ID, c.ITEM_ID), "--column")
    item_choice = ColumnChoice(item_columns or {}, (c.ITEM_ID, *c.TEXT), (c.ITEM_ID,), "--item-column")
    table = _read(orders, choice, options or TextOptions())
    items = None if products is None else _read(products, item_choice, options or TextOptions())
    _guess_items(table, items, ask)
    _guess_user(table, ask)
    remarks, time_format = _guess_time(table, ask, time_format)
    for ours in (c.RATING, c.REVIEW):
        found = table.named(INTERACTION_NAMES[ours]) if ours not in table.used else []
        if found and (ours == c.REVIEW or _is_numeric(table.frame[found[0]])):
            table.used[ours] = found[0]
    for ours, names in ITEM_NAMES.items():
        if items is not None and ours not in items.used and (found := items.named(names)):
            items.used[ours] = found[0]
    source: Literal["table", "recbole"] = "recbole" if table.is_recbole else "table"
    if items is not None and items.is_recbole != table.is_recbole:
        raise ConfigError(
            f"found one atomic file of RecBole among {orders} and {products}, expected both or none; convert one of them"
        )
    return ColumnMapping(
        source=source,
        columns=table.used,
        item_columns={} if items is None else items.used,
        time_format=time_format,
        remarks=(*answers, *remarks),
    )


def _read(path: Path, choice: ColumnChoice, options: TextOptions) -> _Table:
    """Read the first rows of a table, with the columns that the user named."""
    file, frames, n_rows = open_table_file(path, choice, options), list[pl.DataFrame](), 0
    for frame in file.read(RowCounter(), None):
        frames.append(frame.drop(ROW))
        n_rows += len(frame)
        if n_rows >= SAMPLED_ROWS:
            break
    if file.names[0].startswith(("{", "[")):
        raise DataError(
            f"{path} holds JSON, expected columns; read it with `hardneg data import`, and go on with `hardneg data split`"
        )
    matches = [RECBOLE.fullmatch(name) for name in file.names]
    names = {match[0]: match[1] for match in matches if match is not None}
    is_recbole = len(names) == len(matches)
    table = pl.concat(frames)
    if is_recbole:
        table = table.rename(names)
    if unknown := [theirs for theirs in choice.chosen.values() if theirs not in table.columns]:
        raise ConfigError(
            f"found {choice.option} with {unknown[0]!r}, expected a column of {path}: {', '.join(table.columns)}"
        )
    return _Table(path, table, is_recbole, choice.option, dict(choice.chosen))


def _guess_items(table: _Table, items: _Table | None, choose: Choose) -> None:
    """Find the item ids of both tables: columns that share their values, or else names."""
    shared = {} if items is None else _shared_columns(table, items)
    named = table.named(INTERACTION_NAMES[c.ITEM_ID])
    if c.ITEM_ID not in table.used:
        readings = [name for name in named if name in shared] or list(shared) or named
        table.used[c.ITEM_ID] = _decide(table, c.ITEM_ID, readings, choose)
    if items is None or c.ITEM_ID in items.used:
        return
    own = table.used[c.ITEM_ID]
    same = [name for name in items.frame.columns if _plain(name) == _plain(own)]
    readings = [shared[own]] if own in shared else same or items.named(INTERACTION_NAMES[c.ITEM_ID])
    items.used[c.ITEM_ID] = _decide(items, c.ITEM_ID, readings, choose)


def _shared_columns(table: _Table, items: _Table) -> dict[str, str]:
    """Return columns of the first table whose ids a column of the second one has -> that column, most shared first."""
    chosen, others = items.used.get(c.ITEM_ID), set[str]()
    for ours in (c.USER_ID, c.TIMESTAMP, c.RATING):  # small numbers occur in any column of numbers
        others.update(table.named(INTERACTION_NAMES[ours]))
    keys = {name: items.ids(name) for name in ([chosen] if chosen else items.scalars())}
    n_rows = len(items.frame)
    keys = {name: ids for name, ids in keys.items() if chosen or len(ids) >= DISTINCT * n_rows}
    found = dict[str, tuple[float, str]]()
    for name in [table.used[c.ITEM_ID]] if c.ITEM_ID in table.used else table.scalars():
        if name in others or not len(ids := table.ids(name)):
            continue
        shares = [(share_true(ids.is_in(key.implode())), other) for other, key in keys.items()]
        if shares and (best := max(shares, key=lambda pair: pair[0]))[0] >= SHARED:
            found[name] = best
    return {name: other for name, (_, other) in sorted(found.items(), key=lambda pair: -pair[1][0])}


def _guess_user(table: _Table, choose: Choose) -> None:
    if c.USER_ID in table.used:
        return
    named = table.named(INTERACTION_NAMES[c.USER_ID])
    repeated = [name for name in named if 1 < len(table.ids(name)) < len(table.frame)]
    table.used[c.USER_ID] = _decide(table, c.USER_ID, repeated or named, choose)


def _decide(table: _Table, ours: str, readings: Sequence[str], choose: Choose) -> str:
    """Return the reading: one with our own name, the only one, or the one that is chosen."""
    own = [name for name in readings if _plain(name) == ours]
    if len(own) == 1 or len(readings) == 1:
        return (own or readings)[0]
    if readings:
        return choose(table.question(ours, readings))
    raise ConfigError(
        f"{table.path} has no column that is known as {OWN[ours]}, found {', '.join(table.frame.columns)}; "
        f"name it with {table.option} {ours}=COLUMN"
    )


def _guess_time(table: _Table, choose: Choose, time_format: str | None) -> tuple[list[str], str | None]:
    """Find the column of times; return remarks and the format, None where the column decides."""
    if c.TIMESTAMP in table.used or time_format is not None:
        candidates = [table.used[c.TIMESTAMP]] if c.TIMESTAMP in table.used else _time_columns(table)
    else:
        candidates = _time_columns(table)
    formats = {name: _time_formats(table.frame[name]) for name in candidates} if time_format is None else {}
    readable = candidates if time_format is not None else [name for name, known in formats.items() if known]
    remarks = [
        f"{table.path.name}: column {name} is not used, since its values are not read as times (see --time-format)"
        for name in candidates
        if name not in readable
    ]
    if not readable:
        return remarks, time_format
    if c.TIMESTAMP not in table.used:
        table.used[c.TIMESTAMP] = _decide(table, c.TIMESTAMP, readable, choose)
    known = formats.get(table.used[c.TIMESTAMP], (None,))
    if len(known) > 1:
        readings = tuple(str(name) for name in known)
        text = f"In which order does column {table.used[c.TIMESTAMP]} of {table.path.name} write dates"
        return remarks, choose(Question(text, readings, tuple(f"--time-format {name}" for name in readings)))
    return remarks, time_format


def _time_columns(table: _Table) -> list[str]:
    """Return the columns that are times by their names."""
    named = table.named(INTERACTION_NAMES[c.TIMESTAMP])
    return named + [name for name in table.scalars() if _plain(name).endswith(TIME_ENDINGS) and name not in named]


def _time_formats(values: pl.Series) -> tuple[str | None, ...]:
    """Return the formats in which values are times: (None,) where they decide it, two orders of dates, or none."""
    if is_dated(values):
        return (None,)
    values = values.drop_nulls()
    if values.dtype == pl.String:
        values = values.filter(values.str.strip_chars() != "")
    elif not values.dtype.is_numeric():
        return ()
    if values.is_empty():
        return ()
    evidence = TimeEvidence()
    evidence.add(values)
    try:
        return (None,) if _share_read(values, evidence.choose()) >= SHARED else ()
    except DataError:
        return tuple(
            name for name in ("day-first", "month-first") if _share_read(values, TimeFormat.of(name)) >= READABLE
        )


def _share_read(values: pl.Series, time_format: TimeFormat) -> float:
    return share_true(parse_times(values, time_format).is_not_null())


def _is_numeric(values: pl.Series) -> bool:
    """Return True where nearly all values are numbers, or true and false."""
    if values.dtype.is_nested():
        return False
    return share_true(to_numbers(values.drop_nulls()).is_not_null()) >= READABLE


def share_true(flags: pl.Series) -> float:
    """Return the share of flags that are true, 0 without any."""
    return int(flags.sum()) / max(len(flags), 1)


def _plain(name: str) -> str:
    """Return a name in lower case with underscores between words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
