"""MovieLens (Harper & Konstan, 2015), in the three shapes of its releases, told apart by how the file's name ends.

100k: `u.data` (tabs) and `u.item` (bars); 1M and 10M: `ratings.dat` and `movies.dat` (double colons); 20M, 25M, 32M and
latest: `ratings.csv` and `movies.csv`. Item files of the first two are Latin-1, so an item's line that is no UTF-8 is
read as Latin-1.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from hardneg.data import columns as c
from hardneg.data.readers import delimited, typed_columns
from hardneg.data.readers.line_blocks import count_line_blocks, decoded_lines, read_line_blocks
from hardneg.data.readers.streaming import StreamedDataset
from hardneg.data.row_report import RowCounter
from hardneg.errors import DataError
from hardneg.types import Progress

COLUMNS = (c.USER_ID, c.ITEM_ID, c.RATING, c.TIMESTAMP)
HEADERS = {"ratings": "userId,movieId,rating,timestamp", "movies": "movieId,title,genres"}
"""Of the `.csv` files; the others have none."""
GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Of 100k, in the order of its flags."""
NO_GENRE = "(no genres listed)"

Film = dict[str, str]
Kind = TypeVar("Kind")


def open_movielens(ratings: Path, items: Path | None = None) -> StreamedDataset:
    """Ratings and, where given, films with title and genres; plain or gzip."""
    read = partial(_interactions, ratings, _by_ending(ratings, _SEPARATORS))
    return StreamedDataset(read, partial(_items, items, _by_ending(items, _FILMS)) if items else None, items)


def _interactions(path: Path, separator: str, tally: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    header = _has_header(path, "ratings")
    for frame in delimited.delimited_columns(path, COLUMNS, separator, tally, progress, header=header):
        yield typed_columns.interactions(frame, path, tally)


def _items(
    path: Path, film: Callable[[str], Film | None], tally: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    header = _has_header(path, "movies")
    for block in read_line_blocks(path, progress):
        numbers, lines = decoded_lines(block, path, tally, or_latin=True)
        films = [(n, film(line), line) for n, line in zip(numbers, lines, strict=True) if not (header and n == 1)]
        bad = [(number, line.encode()) for number, found, line in films if found is None]
        count_line_blocks(tally, path, "without the fields of a film", bad)
        good = [(number, found) for number, found, _ in films if found is not None]
        yield typed_columns.items([number for number, _ in good], [found for _, found in good], path, tally)


def _by_ending(path: Path, kinds: Mapping[str, Kind]) -> Kind:
    name = path.name.removesuffix(".gz")
    for ending, kind in kinds.items():
        if name.endswith(ending):
            return kind
    raise DataError(f"{path} ends in none of {', '.join(kinds)} (also .gz); name it as MovieLens does")


def _has_header(path: Path, what: str) -> bool:
    """True for a `.csv`, whose first line must be the published one: otherwise it would be a row that is lost."""
    if not path.name.removesuffix(".gz").endswith(".csv"):
        return False
    if (found := delimited.first_line(path)) != HEADERS[what]:
        raise DataError(
            f"{path} begins with {found[:60]!r}, expected {HEADERS[what]!r}; is it the {what} of MovieLens?"
        )
    return True


def _with_flags(line: str) -> Film | None:
    fields = line.split("|")
    if len(fields) != 5 + len(GENRES):
        return None
    return _film(fields[0], fields[1], [genre for genre, flag in zip(GENRES, fields[5:], strict=True) if flag == "1"])


def _with_colons(line: str) -> Film | None:
    return _of_three(line.split("::"))


def _with_commas(line: str) -> Film | None:
    try:
        return _of_three(next(csv.reader([line])))
    except csv.Error:
        return None


def _of_three(fields: list[str]) -> Film | None:
    return _film(fields[0], fields[1], fields[2].split("|")) if len(fields) == 3 else None


def _film(item_id: str, title: str, genres: list[str]) -> Film:
    known = [genre for genre in genres if genre != NO_GENRE]
    return {c.ITEM_ID: item_id, c.TITLE: title, "categories": ", ".join(known)}


_SEPARATORS = {".data": "\t", ".dat": "::", ".csv": ","}
_FILMS: dict[str, Callable[[str], Film | None]] = {".item": _with_flags, ".dat": _with_colons, ".csv": _with_commas}
