"""Labels from a file in the place of a judge: another model's, people's, or those that DTL-NS published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.readers.dtlns import LABEL, released_labels
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.judging.config import JudgeConfig
from hardneg.judging.judge import Judge, JudgeInputs, JudgementIssue
from hardneg.judging.user_candidates import UserCandidates
from hardneg.types import Flags, Floats, Indices

COLUMNS = (c.USER_ID, c.ITEM_ID, LABEL)
NOT_IN_FILE, NO_LABEL = "that the file does not have", "that the file has no label of"
INCOMPLETE = "of the file without a user or an item"
NO_NUMBER = "of the file whose label is neither empty nor a number from 0 to 1"
UNKNOWN, OBSERVED = "of the file with a pair that the split does not know", "of the file with a pair observed in train"
CONTRADICTED = "of the file with a pair to which it gives different labels"


class RecordedLabels(JudgeConfig):
    """Labels that stand in a file."""

    kind: Literal["recorded"] = "recorded"
    labels: Path
    """Parquet or CSV with user_id, item_id, label (0 to 1, empty for none); or the folder that DTL-NS released.

    Of that folder alone it is known that held-out pairs decided its labels, and suspects from it carry a warning. A
    file says nothing of who made it: whoever writes the released labels into one knows where they are from."""
    unlabelled: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability in place of a label that the file has none of; two runs, with 0 and 1, bound what the labels may be."""

    def build(self, inputs: JudgeInputs) -> Judge:
        """It needs the file."""
        table = read_judgements(self.labels)
        try:
            labels = RecordedJudgements.of(table, inputs.split, inputs.issues)
        except DataError as error:
            raise DataError(f"{self.labels}: {error}") from None
        if self.unlabelled is None:
            return RecordedJudge(labels, inputs.issues)
        name = f"recorded, no label as {self.unlabelled:g}"
        return RecordedJudge(labels, inputs.issues, name, self.unlabelled)


@dataclass(frozen=True)
class RecordedJudgements:
    """users, items: (n,) dense, as the file has them in order, no pair twice. label: (n,) in [0, 1], NaN for none.

    refused: (m,) pairs of rows that were left out, each as user * n_items + item.
    """

    users: Indices
    items: Indices
    label: Floats
    n_items: int
    refused: Indices

    @classmethod
    def of(cls, table: pl.DataFrame, split: Split, issues: list[JudgementIssue]) -> RecordedJudgements:
        """Dense numbers for ids. Left out and counted: a pair that lacks an id, whose label is no number from 0 to 1,
        that the split does not know, that it has in train, or to which the remaining rows give different labels.

        The user of such a fault is -1 where the user is what is not known. A row that only repeats another says nothing.
        """
        users, items = (
            table[name].replace_strict(known, default=-1, return_dtype=pl.Int64).to_numpy()
            for name, known in ((c.USER_ID, split.vocabulary.users), (c.ITEM_ID, split.vocabulary.items))
        )
        label, no_number = _numbers(table[LABEL])
        reasons = {
            INCOMPLETE: (table[c.USER_ID].is_null() | table[c.ITEM_ID].is_null()).to_numpy(),
            NO_NUMBER: no_number,
            UNKNOWN: (users < 0) | (items < 0),
            OBSERVED: split.train.contains(np.maximum(users, 0), np.maximum(items, 0)),
        }
        left = ~np.any(list(reasons.values()), axis=0)
        left[left] = _first(users[left], items[left], label[left])
        reasons[CONTRADICTED] = left.copy()
        reasons[CONTRADICTED][left] = _in_several(users[left], items[left])
        counts = dict.fromkeys(reasons, 0)
        free = np.ones(len(table), np.bool_)
        for reason, holds in reasons.items():
            which = free & holds
            counts[reason] = int(which.sum())
            pairs = zip(users[which].tolist(), table.filter(pl.Series(which)).rows(), strict=True)
            issues.extend(JudgementIssue(user, None, reason, ids=row[:2]) for user, row in pairs)
            free &= ~holds
        kept = left & free
        if not kept.any():
            said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count) or "none"
            raise DataError(
                f"found no label of an unobserved pair of this split, expected some; check labels and ids (rows: {said})"
            )
        refused = ~free & (users >= 0) & (items >= 0)
        n_items = split.train.n_items
        return cls(users[kept], items[kept], label[kept], n_items, users[refused] * n_items + items[refused])

    @cached_property
    def by_pair(self) -> tuple[Indices, Indices]:
        """(n,) rows in the order of users and items, and their pairs as one ascending number each."""
        keys = self.users * self.n_items + self.items
        order = np.argsort(keys)
        return order, keys[order]

    def candidates(self) -> UserCandidates:
        """The pairs of the file as candidates, in its order."""
        return UserCandidates.of_pairs(self.users, self.items)


@dataclass(frozen=True)
class RecordedJudge:
    """Looks labels up. faults: gets the candidates of which the file says nothing. unlabelled: in place of a label that
    the file has none of; None leaves it out."""

    labels: RecordedJudgements
    issues: list[JudgementIssue]
    name: str = "recorded"
    unlabelled: float | None = None

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n); NaN for -1, for what the file does not have and, unless it is filled, for what has no label there."""
        there, found = self._looked_up(users, candidates)
        refused = np.isin(self._keys(users, candidates), self.labels.refused)  # named already, with what was wrong
        self._name(users, candidates, ~there & ~refused, NOT_IN_FILE)
        if self.unlabelled is not None:
            return np.where(there & np.isnan(found), self.unlabelled, found)
        self._name(users, candidates, there & np.isnan(found), NO_LABEL)
        return found

    def n_filled(self, users: Indices, candidates: Indices) -> int:
        """How many candidates have a probability that the file has no label of."""
        there, found = self._looked_up(users, candidates)
        return 0 if self.unlabelled is None else int((there & np.isnan(found)).sum())

    def n_outside(self, users: Indices, candidates: Indices) -> int:
        """How many pairs of the file are no candidates."""
        return len(self.labels.users) - int(self._looked_up(users, candidates)[0].sum())

    def _looked_up(self, users: Indices, candidates: Indices) -> tuple[Flags, Floats]:
        """(users, n) twice: is it in the file, and its label there."""
        order, keys = self.labels.by_pair
        wanted = self._keys(users, candidates)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = (keys[places] == wanted) & (candidates >= 0)
        return there, np.where(there, self.labels.label[order[places]], np.nan)

    def _keys(self, users: Indices, candidates: Indices) -> Indices:
        return users[:, None] * self.labels.n_items + candidates

    def _name(self, users: Indices, candidates: Indices, which: Flags, reason: str) -> None:
        rows, columns = np.nonzero(which & (candidates >= 0))
        pairs = zip(users[rows].tolist(), candidates[rows, columns].tolist(), strict=True)
        self.issues.extend(JudgementIssue(user, item, reason) for user, item in pairs)


def read_judgements(path: Path) -> pl.DataFrame:
    """user_id, item_id, label as they stand there. Raises DataError for what is no such file."""
    if path.is_dir():
        return released_labels(path)
    table = read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    if lacking := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path} has no column {lacking[0]}, expected {', '.join(COLUMNS)}; rename its columns")
    if not len(table):
        raise DataError(f"{path} has no row, expected {', '.join(COLUMNS)} of candidates; check who wrote it")
    try:
        return table.select(pl.col(c.USER_ID, c.ITEM_ID).cast(pl.String), LABEL)
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{path} has ids that are no text ({said}); write them as text or whole numbers") from None


def _csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is no readable CSV file ({str(error).splitlines()[0]}); check it") from None


def _numbers(given: pl.Series) -> tuple[Floats, Flags]:
    """(n,) labels, NaN for none; and which are neither that nor a number from 0 to 1. DataError for what is neither
    numbers nor text, whole."""
    if isinstance(given.dtype, pl.Categorical | pl.Enum):
        given = given.cast(pl.String)
    if given.dtype == pl.String:
        given = given.replace("", None)
    elif not (given.dtype.is_numeric() or given.dtype in (pl.Boolean, pl.Null)):
        raise DataError(f"found labels of type {given.dtype}, expected numbers from 0 to 1; write them as such")
    label = given.cast(pl.Float64, strict=False)
    wrong = (label.is_null() & given.is_not_null()) | ~label.is_between(0, 1).fill_null(True)
    return label.fill_null(np.nan).to_numpy(), wrong.to_numpy()


def _first(users: Indices, items: Indices, label: Floats) -> Flags:
    """Which rows say what none before them does."""
    said = pl.DataFrame({"user": users, "item": items, "label": label})
    return said.select(first=pl.struct("user", "item", "label").is_first_distinct())["first"].to_numpy()


def _in_several(users: Indices, items: Indices) -> Flags:
    """Which rows have a pair that another has, too."""
    return pl.DataFrame({"user": users, "item": items}).is_duplicated().to_numpy()
