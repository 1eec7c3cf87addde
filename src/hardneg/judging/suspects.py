"""Suspects: unobserved items that a judge calls liked, each with a probability. On disk a `suspects/` folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowReport, report_notes
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.stage import Draft
from hardneg.types import Flags, Floats, Indices

KIND = "suspects"
TABLE, REJECTED = "suspects.parquet", "rejected.parquet"
THRESHOLD = 0.5
Threshold = Annotated[float, Field(gt=0, le=1)]
"""Probability from which a judged candidate counts as a suspect."""
WARNING, FILLED = "warning", "filled"
"""Notes of a folder: that its labels were made with what is held out; what was put in the place of labels."""
SCHEMA = {"user_id": pl.String, "item_id": pl.String, "probability": pl.Float64, "judge": pl.String}
REJECTED_SCHEMA = {"user_id": pl.String, "item_id": pl.String, "reason": pl.String}
"""Of what has no probability, or was no candidate: user, item (as the answer had it), and why."""


@dataclass(frozen=True)
class Suspects:
    """Judged candidates, a row each, by user and then by the rank of the candidate; no pair twice.

    users, items: (n,) dense indices, none observed in train. probability: (n,) that the user likes the item, in [0, 1];
    NaN where the judge gave no label. judge: what gave them, for tables and pages.
    """

    users: Indices
    items: Indices
    probability: Floats
    judge: str

    def __post_init__(self) -> None:
        if not self.users.shape == self.items.shape == self.probability.shape:
            raise DataError(
                f"found users, items and probabilities of shapes {self.users.shape}, {self.items.shape} and "
                f"{self.probability.shape}, expected one of each a row"
            )
        _require_probabilities(self.probability[self.labelled], "found", "give labels as 0 and 1")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def labelled(self) -> Flags:
        """(n,) True where there is a probability."""
        return ~np.isnan(self.probability)

    def liked(self, threshold: float = THRESHOLD) -> Flags:
        """(n,) True for at least this probability, so nowhere without a label. Raises ConfigError outside (0, 1]."""
        if not 0 < threshold <= 1:
            raise ConfigError(f"found threshold {threshold:g}, expected one above 0 and at most 1")
        return self.probability >= threshold  # NaN is never at least something

    def above(self, threshold: float = THRESHOLD) -> Suspects:
        """Those of at least this probability; what has no label is none of them. Raises ConfigError outside (0, 1]."""
        return self.where(self.liked(threshold))

    def filled(self, probability: float) -> Suspects:
        """The same, with this probability for what has no label (a bound: once 0, once 1)."""
        return replace(self, probability=np.where(self.labelled, self.probability, probability))

    def where(self, chosen: Flags) -> Suspects:
        """The chosen rows. chosen: (n,)."""
        return replace(self, users=self.users[chosen], items=self.items[chosen], probability=self.probability[chosen])

    def pairs(self, train: Interactions) -> Interactions:
        """These pairs over the vocabulary of `train`, sorted by user and item."""
        return Interactions.of(self.users, self.items, n_users=train.n_users, n_items=train.n_items)


def write_suspects(
    draft: Draft, suspects: Suspects, vocabulary: Vocabulary, rejected: pl.DataFrame, row_report: RowReport = ()
) -> None:
    """Write suspects.parquet and rejected.parquet (columns of SCHEMA and REJECTED_SCHEMA).

    All candidates are written, those without a label with null. row_report: failed labels, counted by reason.
    """
    user_ids, item_ids = (pl.Series(ids, dtype=pl.String) for ids in (vocabulary.user_ids, vocabulary.item_ids))
    columns = {
        "user_id": user_ids.gather(suspects.users),
        "item_id": item_ids.gather(suspects.items),
        "probability": pl.Series(suspects.probability, dtype=pl.Float64).fill_nan(None),
    }
    table = pl.DataFrame(columns).with_columns(pl.lit(suspects.judge, pl.String).alias("judge"))
    draft.notes |= {
        "judge": suspects.judge,
        "candidates": len(suspects),
        "users": len(np.unique(suspects.users)),
        "unlabelled": int((~suspects.labelled).sum()),
        f"at least {THRESHOLD:g}": len(suspects.above(THRESHOLD)),
        "rows left out": report_notes(row_report),
    }
    table.select(*SCHEMA).write_parquet(draft.folder / TABLE)
    casts = [pl.col(name).cast(kind) for name, kind in REJECTED_SCHEMA.items()]
    rejected.select(casts).write_parquet(draft.folder / REJECTED)


def read_suspects(folder: Path, split: Split) -> Suspects:
    """Read a suspects folder; its ids become the split's dense indices.

    Raises DataError where a user or item is none of the split, where a pair is observed in train or stands twice, where
    a probability is none, and where a column has another kind of value: then the folder was made from another split, or
    by hand.
    """
    judge = artifacts.read_manifest(folder, KIND)["notes"]["judge"]
    path, table = folder / TABLE, _table(folder)
    users = _numbers(table["user_id"], split.vocabulary.users, path)
    items = _numbers(table["item_id"], split.vocabulary.items, path)
    probability = table["probability"].fill_null(np.nan).to_numpy()
    found = Suspects(users, items, probability, judge)
    _require_sound(found, split.train, path)
    return found


def read_probabilities(folder: Path) -> Floats:
    """(labelled,) probabilities alone, for which no split is needed. Raises DataError where the table is none of suspects."""
    artifacts.read_manifest(folder, KIND)
    return _table(folder)["probability"].fill_nan(None).drop_nulls().to_numpy()


def _table(folder: Path) -> pl.DataFrame:
    path = folder / TABLE
    table = read_parquet(path)
    if lacking := [name for name in SCHEMA if name not in table.columns]:
        raise DataError(f"{path} has no column {lacking[0]}, expected {', '.join(SCHEMA)}; judge again")
    for name in ("user_id", "item_id", "probability"):
        kind = table[name].dtype
        fits = (kind == pl.Null or kind.is_numeric()) if name == "probability" else not kind.is_nested()
        if not fits:
            expected = "numbers" if name == "probability" else "ids"
            raise DataError(f"{path} has {kind} in column {name}, expected {expected}; judge again")
    table = table.with_columns(pl.col("probability").cast(pl.Float64))
    given = table["probability"].fill_nan(None).drop_nulls().to_numpy()
    _require_probabilities(given, f"{path} has", "judge again")
    return table


def _require_probabilities(given: Floats, found: str, remedy: str) -> None:
    if len(given) and not 0 <= given.min() <= given.max() <= 1:
        raise DataError(f"{found} probabilities from {given.min():g} to {given.max():g}, expected 0 to 1; {remedy}")


def _numbers(ids: pl.Series, known: Mapping[str, int], path: Path) -> Indices:
    numbers = ids.cast(pl.String).replace_strict(known, default=-1, return_dtype=pl.Int64).to_numpy()
    if len(numbers) and numbers.min() < 0:
        first = ids[int(numbers.argmin())]
        raise DataError(f"{path} has {ids.name} {first!r}, which the split does not know; judge from this split")
    return np.asarray(numbers)


def _require_sound(found: Suspects, train: Interactions, path: Path) -> None:
    observed = int(train.contains(found.users, found.items).sum())
    if observed:
        raise DataError(f"{path} has {observed:,} pairs that are observed in train; judge from this split")
    if len(np.unique(found.users * train.n_items + found.items)) < len(found):
        raise DataError(f"{path} has a pair twice, expected every candidate once; judge again")
