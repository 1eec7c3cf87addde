"""Recorded judgements: labels read from a file, of another model, of people, or published by DTL-NS."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.products import UNDER_ANOTHER_ID
from hardneg.data.readers.dtlns import LABEL, released_labels
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.judging.judge import Judge, JudgeConfig, JudgeInputs, JudgementIssue
from hardneg.judging.suspects import UserCandidates
from hardneg.types import Flags, Floats, Indices

COLUMNS = (c.USER_ID, c.ITEM_ID, LABEL)
NOT_IN_FILE, NO_LABEL = "without an entry in the file", "without a label in the file"
INCOMPLETE = "of the file without a user or an item"
INVALID_LABEL = "of the file with a label that is neither empty nor a number from 0 to 1"
UNKNOWN, OBSERVED = "of the file with a pair outside the split", "of the file with a training pair"
OTHER_ID = f"of the file with an item where {UNDER_ANOTHER_ID}"
CONTRADICTED = "of the file with different labels of a pair"


class RecordedLabels(JudgeConfig):
    """Labels from a file."""

    kind: Literal["recorded"] = "recorded"
    labels: Path
    """Parquet or CSV file with user_id, item_id and label (0 to 1, empty for none), or the folder released by DTL-NS.

    The labels of that folder were made with held-out pairs, so suspects from it carry a warning. The origin of a file
    is unknown, and it carries none."""
    unlabelled: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability of pairs without a label in the file; runs with 0 and 1 bound the effect of the missing labels."""

    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises DataError where the file is unusable."""
        table = read_judgements(self.labels)
        try:
            judgements = RecordedJudgements.from_table(table, inputs.split, inputs.issues)
        except DataError as error:
            raise DataError(f"{self.labels}: {error}") from None
        name = "recorded" if self.unlabelled is None else f"recorded, no label as {self.unlabelled:g}"
        return RecordedJudge(judgements, inputs.issues, name, self.unlabelled)


@dataclass(frozen=True)
class RecordedJudgements:
    """Labels of distinct pairs, in the order of the file.

    users, items: (n,) dense indices. label: (n,) in [0, 1], NaN for none. rejected: (m,) pairs of rows that are left
    out, as user * n_items + item.
    """

    users: Indices
    items: Indices
    label: Floats
    n_items: int
    rejected: Indices

    @classmethod
    def from_table(cls, table: pl.DataFrame, split: Split, issues: list[JudgementIssue]) -> RecordedJudgements:
        """Replace ids by dense indices and append the rows that are left out to `issues`.

        Left out are rows without an id, with an invalid label, with a pair that is outside the split or in train, with
        an item that the user has under another id, and with a pair that has different labels. The user of an issue is
        -1 where it is unknown. Repeated rows are merged. Raises DataError where no row remains.
        """
        n_items, ids = split.train.n_items, ((c.USER_ID, split.vocabulary.users), (c.ITEM_ID, split.vocabulary.items))
        users, items = (
            table[name].replace_strict(indices, default=-1, return_dtype=pl.Int64).to_numpy() for name, indices in ids
        )
        label, invalid = _parse_labels(table[LABEL])
        reasons = {
            INCOMPLETE: (table[c.USER_ID].is_null() | table[c.ITEM_ID].is_null()).to_numpy(),
            INVALID_LABEL: invalid,
            UNKNOWN: (users < 0) | (items < 0),
            OBSERVED: split.train.contains(np.maximum(users, 0), np.maximum(items, 0)),
            OTHER_ID: split.owned.contains(np.maximum(users, 0), np.maximum(items, 0)),
        }
        distinct = ~np.any(list(reasons.values()), axis=0)
        labels = pl.DataFrame({"user": users, "item": items, "label": label})
        distinct[distinct] = (
            labels.filter(pl.Series(distinct)).select(pl.struct(pl.all()).is_first_distinct()).to_numpy()[:, 0]
        )
        reasons[CONTRADICTED] = distinct.copy()
        reasons[CONTRADICTED][distinct] = labels.filter(pl.Series(distinct)).select("user", "item").is_duplicated()
        valid, row_issues = np.ones(len(table), np.bool_), list[JudgementIssue]()
        for reason, applies in reasons.items():  # a row is reported with the first reason that applies
            mask = valid & applies
            pairs = zip(users[mask].tolist(), table.filter(pl.Series(mask)).rows(), strict=True)
            row_issues.extend(JudgementIssue(user, None, reason, ids=row[:2]) for user, row in pairs)
            valid &= ~applies
        issues.extend(row_issues)
        kept, rejected = distinct & valid, ~valid & (users >= 0) & (items >= 0)
        if not kept.any():
            counts = Counter(issue.reason for issue in row_issues)
            listed = "; ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "none"
            raise DataError(
                f"found no label of an unobserved pair of this split, expected at least one; check labels and ids (rows: {listed})"
            )
        return cls(users[kept], items[kept], label[kept], n_items, users[rejected] * n_items + items[rejected])

    @cached_property
    def by_pair(self) -> tuple[Indices, Indices]:
        """Rows in ascending order of their pair, (n,), and the pairs as user * n_items + item."""
        keys = self.users * self.n_items + self.items
        order = np.argsort(keys)
        return order, keys[order]

    def candidates(self) -> UserCandidates:
        """Return the pairs of the file as candidates, in its order."""
        return UserCandidates.from_pairs(self.users, self.items)


@dataclass(frozen=True)
class RecordedJudge:
    """Looks up labels. issues: list that gets candidates without a label. unlabelled: probability of missing labels."""

    labels: RecordedJudgements
    issues: list[JudgementIssue]
    name: str = "recorded"
    unlabelled: float | None = None

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """Return the labels (users, n), NaN for padding (-1), for candidates outside the file and for missing labels.

        A missing label is `unlabelled` where that is set.
        """
        in_file, labels = self._look_up(users, candidates)
        rejected = np.isin(self._keys(users, candidates), self.labels.rejected)  # reported already, with the reason
        self._report(users, candidates, ~in_file & ~rejected, NOT_IN_FILE)
        missing = in_file & np.isnan(labels)
        if self.unlabelled is not None:
            return np.where(missing, self.unlabelled, labels)
        self._report(users, candidates, missing, NO_LABEL)
        return labels

    def n_filled(self, users: Indices, candidates: Indices) -> int:
        """Return the number of candidates whose missing label is replaced."""
        in_file, labels = self._look_up(users, candidates)
        return 0 if self.unlabelled is None else int((in_file & np.isnan(labels)).sum())

    def n_outside(self, users: Indices, candidates: Indices) -> int:
        """Return the number of pairs of the file that are no candidates."""
        return len(self.labels.users) - int(self._look_up(users, candidates)[0].sum())

    def _look_up(self, users: Indices, candidates: Indices) -> tuple[Flags, Floats]:
        """Return whether a candidate is in the file, and its label, (users, n) each."""
        order, keys = self.labels.by_pair
        wanted = self._keys(users, candidates)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        in_file = (keys[places] == wanted) & (candidates >= 0)
        return in_file, np.where(in_file, self.labels.label[order[places]], np.nan)

    def _keys(self, users: Indices, candidates: Indices) -> Indices:
        return users[:, None] * self.labels.n_items + candidates

    def _report(self, users: Indices, candidates: Indices, mask: Flags, reason: str) -> None:
        rows, columns = np.nonzero(mask & (candidates >= 0))
        pairs = zip(users[rows].tolist(), candidates[rows, columns].tolist(), strict=True)
        self.issues.extend(JudgementIssue(user, item, reason) for user, item in pairs)


def read_judgements(path: Path) -> pl.DataFrame:
    """Return user_id, item_id and label of a file or of the released folder. Raises DataError where it is unusable."""
    if path.is_dir():
        return released_labels(path)
    table = read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]}, expected {', '.join(COLUMNS)}; rename its columns")
    if not len(table):
        raise DataError(f"{path} has no row, expected {', '.join(COLUMNS)} of candidates; check its source")
    try:
        return table.select(pl.col(c.USER_ID, c.ITEM_ID).cast(pl.String), LABEL)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path} has ids that cannot be text ({str(error).splitlines()[0]}); write them as text or whole numbers"
        ) from None


def _read_csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is no readable CSV file ({str(error).splitlines()[0]}); check it") from None


def _parse_labels(column: pl.Series) -> tuple[Floats, Flags]:
    """Return labels (n,), NaN for none, and where they are invalid. Raises DataError for a column of another type."""
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        column = column.replace("", None)
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(f"found labels of type {column.dtype}, expected numbers from 0 to 1; write them as such")
    label = column.cast(pl.Float64, strict=False)
    invalid = (label.is_null() & column.is_not_null()) | ~label.is_between(0, 1).fill_null(True)
    return label.fill_null(np.nan).to_numpy(), invalid.to_numpy()
