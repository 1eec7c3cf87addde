"""MovieLens (Harper & Konstan, 2015), in the three formats of its releases, recognised by the file name.

100k: `u.data` (tabs) and `u.item` (bars). 1M and 10M: `ratings.dat` and `movies.dat` (double colons). 20M, 25M, 32M and
latest: `ratings.csv` and `movies.csv`. Item files of the first two formats are Latin-1, so an item's line that is not
UTF-8 is read as Latin-1.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from hardneg.data import columns as c
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import line_blocks, typed_columns
from hardneg.data.row_report import RowCounter
from hardneg.errors import DataError
from hardneg.types import Progress

COLUMNS = (c.USER_ID, c.ITEM_ID, c.RATING, c.TIMESTAMP)
HEADERS = {"ratings": "userId,movieId,rating,timestamp", "movies": "movieId,title,genres"}
"""Headers of the `.csv` files; the other formats have none."""
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Genres of 100k, in the order of its flags."""
NO_GENRE = "(no genres listed)"

Film = dict[str, str]
Kind = TypeVar("Kind")


def open_movielens(ratings: Path, items: Path | None = None) -> StreamedDataset:
    """Open ratings and, optionally, films with title and genres; plain or gzip."""
    read = partial(_read_interactions, ratings, _select_by_suffix(ratings, _SEPARATORS))
    return StreamedDataset(
        read, partial(_read_items, items, _select_by_suffix(items, _FILM_PARSERS)) if items else None, items
    )


def _read_interactions(
    path: Path, separator: str, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    header = _has_header(path, "ratings")
    for frame in line_blocks.delimited_columns(path, COLUMNS, separator, counter, progress, header=header):
        yield typed_columns.type_interactions(frame, path, counter)


def _read_items(
    path: Path, parse: Callable[[str], Film | None], counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    header = _has_header(path, "movies")
    for block in line_blocks.read_line_blocks(path, progress):
        numbers, lines = line_blocks.decode_lines(block, path, counter, or_latin=True)
        films = [(n, parse(line), line) for n, line in zip(numbers, lines, strict=True) if not (header and n == 1)]
        bad = [(number, line.encode()) for number, film, line in films if film is None]
        line_blocks.count_lines(counter, path, "without the fields of a film", bad)
        good = [(number, film) for number, film, _ in films if film is not None]
        yield typed_columns.type_items(good, path, counter)


def _select_by_suffix(path: Path, kinds: Mapping[str, Kind]) -> Kind:
    name = path.name.removesuffix(".gz")
    for suffix, kind in kinds.items():
        if name.endswith(suffix):
            return kind
    raise DataError(f"found {path}, expected a name ending with {', '.join(kinds)} (also .gz), as in MovieLens")


def _has_header(path: Path, kind: str) -> bool:
    """Return True for a `.csv`; its first line must be the published header, so that no row is lost."""
    if not path.name.removesuffix(".gz").endswith(".csv"):
        return False
    if (header := line_blocks.read_header_line(path)) != HEADERS[kind]:
        raise DataError(
            f"{path} begins with {header[:60]!r}, expected {HEADERS[kind]!r}; is it the {kind} of MovieLens?"
        )
    return True


def _parse_flags(line: str) -> Film | None:
    fields = line.split("|")
    if len(fields) != 5 + len(GENRES):
        return None
    genres = [genre for genre, flag in zip(GENRES, fields[5:], strict=True) if flag == "1"]
    return _parse_fields([*fields[:2], "|".join(genres)])


def _parse_csv(line: str) -> Film | None:
    try:
        return _parse_fields(next(csv.reader([line])))
    except csv.Error:
        return None


def _parse_fields(fields: list[str]) -> Film | None:
    if len(fields) != 3:
        return None
    genres = [genre for genre in fields[2].split("|") if genre != NO_GENRE]
    return {c.ITEM_ID: fields[0], c.TITLE: fields[1], "categories": ", ".join(genres)}


_SEPARATORS = {".data": "\t", ".dat": "::", ".csv": ","}
_FILM_PARSERS: dict[str, Callable[[str], Film | None]] = {
    ".item": _parse_flags,
    ".dat": lambda line: _parse_fields(line.split("::")),
    ".csv": _parse_csv,
}
