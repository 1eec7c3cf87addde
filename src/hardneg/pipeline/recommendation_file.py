"""Recommendations of many users in one Parquet or CSV file, written in memory that does not grow with the users."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from hardneg.data import columns as c
from hardneg.data.importing import ChunkedTable
from hardneg.errors import ConfigError
from hardneg.pipeline.recommendation import (
    SCHEMA,
    Mask,
    Recommendations,
    Recommender,
    open_recommender,
)
from hardneg.plain_text import escape_cell
from hardneg.storage import parts_folder, remove_leftovers, replacing
from hardneg.types import Progress

ENDINGS = (".parquet", ".csv")
USERS_AT_ONCE = 2048
"""Users whose recommendations are in memory at once."""


@dataclass(frozen=True)
class RecommendationCounts:
    """Counts of a written file.

    users, rows: users and recommendations in it. short: users with fewer items than asked for. masked, other_ids: as in
    `Recommendations`. unknown: ids that the run does not have. titles_changed: items whose title the CSV file shows with
    escapes. risky_ids: users and items with an id that would be escaped as a title.
    """

    users: int
    rows: int = 0
    short: int = 0
    masked: int = 0
    other_ids: int = 0
    unknown: tuple[str, ...] = ()
    titles_changed: int = 0
    risky_ids: int = 0

    def add(self, part: Recommendations) -> RecommendationCounts:
        """Return the counts with those of further users."""
        return replace(
            self,
            rows=self.rows + len(part.table),
            short=self.short + part.short,
            masked=self.masked + part.masked,
            other_ids=self.other_ids + part.other_ids,
        )


def write_recommendations(
    run_dir: Path,
    out: Path,
    k: int,
    *,
    user_ids: Sequence[str] | None = None,
    mask: Mask = "known",
    split_dir: Path | None = None,
    progress: Progress | None = None,
) -> RecommendationCounts:
    """Write the k best items of users, or of all users of the run, to a Parquet or CSV file.

    Ids are those of the source files. Parquet has every title as it is; in a CSV file, titles are escaped as in
    `escape_cell`. mask, split_dir: as in `open_recommender`. An earlier file of recommendations is replaced.
    Raises ConfigError where `out` holds anything else, and DataError where the run has none of the users.
    """
    require_replaceable(out)
    recommender = open_recommender(run_dir, mask, split_dir)
    users, unknown = np.arange(len(recommender.run.vocabulary.user_ids)), tuple[str, ...]()
    if user_ids is not None:
        users, unknown = recommender.find_users(user_ids, run_dir)
    counts = RecommendationCounts(len(users), unknown=unknown)
    if out.suffix == ".csv":
        recommender, counts = _for_spreadsheets(recommender, counts)
    done = 0
    with _table_writer(out) as add:
        for part in recommender.rank_blocks(users, k, USERS_AT_ONCE):
            add(part.table)
            counts, done = counts.add(part), done + min(USERS_AT_ONCE, len(users) - done)
            if progress is not None:
                progress("users", done, len(users))
    return counts


def require_replaceable(out: Path) -> None:
    """Raise ConfigError unless `out` is a Parquet or CSV path, free or with recommendations in it."""
    if out.suffix not in ENDINGS:
        raise ConfigError(f"found --out {out}, expected a file that ends with {' or '.join(ENDINGS)}")
    if out.exists() and not _holds_recommendations(out):
        raise ConfigError(
            f"{out} already holds something else than recommendations; choose another --out, or remove it"
        )


def _holds_recommendations(path: Path) -> bool:
    if path.is_dir():
        return False
    if path.suffix == ".csv":
        with path.open("rb") as file:
            return file.readline().strip() == ",".join(SCHEMA).encode()
    try:
        return dict(pl.read_parquet_schema(path)) == SCHEMA
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return False


def _for_spreadsheets(
    recommender: Recommender, counts: RecommendationCounts
) -> tuple[Recommender, RecommendationCounts]:
    """Return a recommender whose titles are escaped, and the counts with titles_changed and risky_ids."""
    ids = recommender.run.vocabulary
    changed_ids = sum(escape_cell(name) != name for name in (*ids.user_ids, *ids.item_ids))
    if c.TITLE not in recommender.items.columns:
        return recommender, replace(counts, risky_ids=changed_ids)
    titles = recommender.items[c.TITLE].fill_null("")
    escaped = pl.Series(c.TITLE, [escape_cell(title) for title in titles], dtype=pl.String)
    counts = replace(counts, risky_ids=changed_ids, titles_changed=int((escaped != titles).sum()))
    return replace(recommender, items=recommender.items.with_columns(escaped)), counts


@contextmanager
def _table_writer(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield a function that appends rows; the file takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    with replacing(path) as new:
        if path.suffix == ".csv":
            with new.open("wb") as file:
                pl.DataFrame(schema=SCHEMA).write_csv(file)
                yield lambda rows: rows.write_csv(file, include_header=False)
            return
        with parts_folder(path) as parts:
            table = ChunkedTable(parts)
            yield table.add
            table.flush()
            table.write(new)
