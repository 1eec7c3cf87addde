"""Labels from a file in the place of a judge: another model's, people's, or those that DTL-NS published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.sources.dtlns import LABEL, released_labels
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.negatives.judges.judge import Evidence, Fault, Judge
from hardneg.negatives.judges.user_candidates import UserCandidates
from hardneg.types import Floats, Indices

COLUMNS = (c.USER_ID, c.ITEM_ID, LABEL)
NOT_IN_FILE = "the file has no label of it"


class Recorded(Config):
    """Labels that stand in a file."""

    kind: Literal["recorded"] = "recorded"
    labels: Path
    """Parquet or CSV with user_id, item_id, label (0 to 1, empty for none); or the folder that DTL-NS released."""

    def build(self, evidence: Evidence) -> Judge:
        """It needs the file."""
        table = read_labels(self.labels)
        return RecordedJudge(Labels.of(table, evidence.split.vocabulary, evidence.faults), evidence.faults)


@dataclass(frozen=True)
class Labels:
    """users, items: (n,) dense, as the file has them in order, no pair twice. label: (n,) in [0, 1], NaN for none."""

    users: Indices
    items: Indices
    label: Floats
    n_items: int

    @classmethod
    def of(cls, table: pl.DataFrame, vocabulary: Vocabulary, faults: list[Fault]) -> Labels:
        """Dense numbers for ids; a row of a user or item that the split does not know is left out and counted.

        The user of such a fault is -1 where the user is what is not known.
        """
        users, items = (
            table[name].cast(pl.String).replace_strict(known, default=-1, return_dtype=pl.Int64).to_numpy()
            for name, known in ((c.USER_ID, vocabulary.users), (c.ITEM_ID, vocabulary.items))
        )
        known = (users >= 0) & (items >= 0)
        strangers = zip(users[~known].tolist(), table.filter(~pl.Series(known)).rows(), strict=True)
        faults.extend(
            Fault(user, None, "the split does not know the pair", f"{row[0]} {row[1]}") for user, row in strangers
        )
        label = table[LABEL].fill_null(np.nan).to_numpy()
        return cls(users[known], items[known], label[known], len(vocabulary.item_ids))

    def candidates(self) -> UserCandidates:
        """The pairs of the file as candidates, in its order."""
        return UserCandidates.of_pairs(self.users, self.items)


@dataclass(frozen=True)
class RecordedJudge:
    """Looks labels up. faults: gets the candidates of which the file says nothing."""

    labels: Labels
    faults: list[Fault]
    name: str = "recorded"

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n); NaN for -1, for what the file does not have and for what has no label there."""
        keys = self.labels.users * self.labels.n_items + self.labels.items
        order = np.argsort(keys)
        wanted = users[:, None] * self.labels.n_items + candidates
        places = np.searchsorted(keys, wanted, sorter=order)
        at = order[np.minimum(places, len(order) - 1)] if len(order) else np.zeros(wanted.shape, np.int64)
        there = (keys[at] == wanted) & (candidates >= 0) if len(order) else np.zeros(wanted.shape, bool)
        rows, columns = np.nonzero(~there & (candidates >= 0))
        pairs = zip(users[rows].tolist(), candidates[rows, columns].tolist(), strict=True)
        self.faults.extend(Fault(user, item, NOT_IN_FILE) for user, item in pairs)
        return np.where(there, self.labels.label[at] if len(order) else np.nan, np.nan)


def read_labels(path: Path) -> pl.DataFrame:
    """user_id, item_id, label (Float64, null for none). Raises DataError for what is no such file."""
    if path.is_dir():
        return released_labels(path)
    table = read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    if lacking := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path} has no column {lacking[0]}, expected {', '.join(COLUMNS)}; rename its columns")
    table = table.select(pl.col(c.USER_ID, c.ITEM_ID).cast(pl.String), _number(table, path))
    twice = table.filter(table.select(c.USER_ID, c.ITEM_ID).is_duplicated())
    if len(twice):
        user, item, _ = twice.row(0)
        raise DataError(f"{path} has pairs twice (first: {user} {item}), expected each once; keep one of them")
    return table


def _csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is no readable CSV file ({str(error).splitlines()[0]}); check it") from None


def _number(table: pl.DataFrame, path: Path) -> pl.Series:
    given = table[LABEL]
    if given.dtype == pl.String:
        given = given.replace("", None)
    label = given.cast(pl.Float64, strict=False)
    bad = (label.is_null() & given.is_not_null()) | ~label.is_between(0, 1).fill_null(True)
    if bad.any():
        first = given.filter(bad)[0]
        raise DataError(f"{path} has the label {first!r}, expected a number from 0 to 1 or nothing; mend it")
    return label.alias(LABEL)
