"""MovieLens (Harper & Konstan, 2015), in the three formats of its releases, recognised by content.

100k: `u.data` (tabs) and `u.item` (bars). 1M and 10M: `ratings.dat` and `movies.dat` (double colons). 20M, 25M, 32M and
latest: `ratings.csv` and `movies.csv`. Item files of the first two formats are Latin-1, so an item's line that is not
UTF-8 is read as Latin-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import typed_columns
from hardneg.data.readers.delimited import read_columns
from hardneg.data.readers.text_format import DELIMITERS, TextFormat, TextOptions, detect_fields, sample_lines
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeFormat
from hardneg.types import Progress

COLUMNS = (c.USER_ID, c.ITEM_ID, c.RATING, c.TIMESTAMP)
FILM = (c.ITEM_ID, c.TITLE, "categories")
HEADERS = ("userId,movieId,rating,timestamp", "movieId,title,genres")
"""Headers of the `.csv` files; the other formats have none."""
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Genres of 100k, in the order of its flags."""
FLAGS = (c.ITEM_ID, c.TITLE, "released", "released on video", "address", *GENRES)
"""Columns of `u.item`."""
NO_GENRE = "(no genres listed)"


def open_movielens(ratings: Path, items: Path | None = None) -> StreamedDataset:
    """Open ratings and, optionally, films with title and genres; plain or gzip."""
    read = partial(_read_interactions, ratings)
    return StreamedDataset(read, partial(_read_items, items) if items else None, items)


def _read_interactions(path: Path, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    form = detect_fields(path, TextOptions(), len(COLUMNS), DELIMITERS)
    header = sample_lines(path)[0][0] in HEADERS
    if header:
        counter.file(path.name).columns = dict(zip(COLUMNS, HEADERS[0].split(","), strict=True))
    frames = read_columns(path, COLUMNS, form, counter, progress, header=header)
    times = TimeColumn(path, counter, TimeFormat("seconds", iso=False))
    return typed_columns.type_interactions(frames, path, counter, times)


def _read_items(path: Path, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    lines, encoding = sample_lines(path, or_latin=True)
    with_flags = TextFormat("|", "", encoding)
    has_flags = 2 * sum(len(with_flags.split(line).fields) == len(FLAGS) for line in lines) > len(lines)
    form = with_flags if has_flags else detect_fields(path, TextOptions(), len(FILM), DELIMITERS, or_latin=True)
    names, genres = (FLAGS, _list_flags()) if has_flags else (FILM, _list_genres())
    for frame in read_columns(path, names, form, counter, progress, header=lines[0] in HEADERS, or_latin=True):
        films = frame.select(ROW, c.ITEM_ID, c.TITLE, genres.alias("categories")).rows(named=True)
        yield typed_columns.type_items([(film.pop(ROW), film) for film in films], path, counter)


def _list_flags() -> pl.Expr:
    """Return the names of the genres whose flag is 1."""
    names = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in GENRES]
    return pl.concat_str(names, separator=", ", ignore_nulls=True)


def _list_genres() -> pl.Expr:
    """Return the names of the genres between bars."""
    return pl.col("categories").replace(NO_GENRE, "").str.replace_all("|", ", ", literal=True)
