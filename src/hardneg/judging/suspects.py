"""Suspects: candidates with the probability that they are false negatives. Stored in a `suspects/` folder."""

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
"""Minimum probability of a suspect, above 0 and at most 1."""
WARNING, FILLED = "warning", "filled"
"""Keys of notes: a warning about labels from held-out data, and the probability used for missing labels."""
MOSTLY_LIKED = "mostly liked"
"""Note of a folder most of whose candidates are suspects."""
MOST_LIKED = 0.5
"""Share of liked candidates above which a judge separates too little."""
SCHEMA = {"user_id": pl.String, "item_id": pl.String, "probability": pl.Float64, "judge": pl.String}
SCORE = "score"
"""Further column of judges that calibrate scores: the score of each candidate."""
REJECTED_SCHEMA = {"user_id": pl.String, "item_id": pl.String, "reason": pl.String}
"""Candidates without a label and entries of answers that are no candidates, with the reason."""


@dataclass(frozen=True)
class Suspects:
    """Judged candidates, ordered by user and rank, without repeated pairs.

    users, items: (n,) dense indices of unobserved pairs. probability: (n,) in [0, 1] that the user likes the item, NaN
    without a label. judge: name of the judge. score: (n,) from which the judge calibrated the probability, NaN without
    one; None for judges that have no scores.
    """

    users: Indices
    items: Indices
    probability: Floats
    judge: str
    score: Floats | None = None

    def __post_init__(self) -> None:
        if not self.users.shape == self.items.shape == self.probability.shape:
            raise DataError(
                f"found users, items and probabilities of shapes {self.users.shape}, {self.items.shape} and "
                f"{self.probability.shape}, expected equal shapes (n,)"
            )
        _require_probabilities(self.probability[self.labelled], "found", "write labels as 0 and 1")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def labelled(self) -> Flags:
        """True where there is a probability, (n,)."""
        return ~np.isnan(self.probability)

    def is_above(self, threshold: float = THRESHOLD) -> Flags:
        """Return True for probabilities of at least the threshold, (n,). Raises ConfigError outside (0, 1]."""
        if not 0 < threshold <= 1:
            raise ConfigError(f"found threshold {threshold:g}, expected one above 0 and at most 1")
        return self.probability >= threshold  # False for NaN

    def above(self, threshold: float = THRESHOLD) -> Suspects:
        """Return the rows with a probability of at least the threshold. Raises ConfigError outside (0, 1]."""
        return self.where(self.is_above(threshold))

    def where(self, mask: Flags) -> Suspects:
        """Return the rows where the mask (n,) is True."""
        score = None if self.score is None else self.score[mask]
        return replace(
            self, users=self.users[mask], items=self.items[mask], probability=self.probability[mask], score=score
        )

    def pairs(self, train: Interactions) -> Interactions:
        """Return the pairs over the vocabulary of `train`, sorted by user and item."""
        return Interactions.of(self.users, self.items, n_users=train.n_users, n_items=train.n_items)


@dataclass(frozen=True)
class UserCandidates:
    """Candidates: unobserved items that a trained model ranks highest, one row per user.

    users: (n,), distinct. items: (n, k), best first, padded with -1, distinct within a row. Raises DataError where the
    shapes do not match or a user or an item of a row is repeated.
    """

    users: Indices
    items: Indices

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or self.items.shape[:1] != self.users.shape:
            raise DataError(
                f"found users of shape {self.users.shape} and candidates of shape {self.items.shape}, expected (n,) and (n, k)"
            )
        if len(np.unique(self.users)) < len(self.users):
            raise DataError("found a user with two rows of candidates, expected one; join them")
        ordered = np.sort(self.items, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise DataError("found a candidate twice for one user, expected it once; leave the second out")

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def from_pairs(cls, users: Indices, items: Indices) -> UserCandidates:
        """Group pairs by user; the candidates of a user keep the order of the pairs."""
        order = np.argsort(users, kind="stable")
        distinct, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
        rows = np.full((len(distinct), int(counts.max(initial=0))), -1, np.int64)
        place = np.arange(len(order)) - np.repeat(starts, counts)
        rows[np.repeat(np.arange(len(distinct)), counts), place] = items[order]
        return cls(distinct, rows)

    @property
    def present(self) -> Flags:
        """True where there is a candidate, (n, k)."""
        return np.asarray(self.items >= 0)

    def to_suspects(self, probability: Floats, judge: str, score: Floats | None = None) -> Suspects:
        """Return the candidates with their probabilities and scores (n, k), one row per candidate."""
        rows, places = np.nonzero(self.present)
        scores = None if score is None else score[rows, places]
        return Suspects(self.users[rows], self.items[rows, places], probability[rows, places], judge, scores)


def describe_liked(liked: int, labelled: int) -> str:
    """Return a warning where most of the labelled candidates are liked, else ""."""
    if not labelled or liked / labelled <= MOST_LIKED:
        return ""
    return (
        f"the judge calls {liked / labelled:.1%} of {labelled:,} candidates liked, so its suspects are little more than the "
        "hardest candidates"
    )


def write_suspects(
    draft: Draft, suspects: Suspects, vocabulary: Vocabulary, rejected: pl.DataFrame, row_report: RowReport = ()
) -> None:
    """Write suspects.parquet (SCHEMA, and a column `score` where the judge has scores) and rejected.parquet.

    The probability of a candidate without a label is null, and its score. row_report: missing labels, counted by reason.
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
    warning = describe_liked(len(suspects.above(THRESHOLD)), int(suspects.labelled.sum()))
    draft.notes |= {MOSTLY_LIKED: warning} if warning else {}
    table = table.select(*SCHEMA)
    if suspects.score is not None:
        table = table.with_columns(pl.Series(SCORE, suspects.score, dtype=pl.Float64).fill_nan(None))
    table.write_parquet(draft.folder / TABLE)
    casts = [pl.col(name).cast(kind) for name, kind in REJECTED_SCHEMA.items()]
    rejected.select(casts).write_parquet(draft.folder / REJECTED)


def read_suspects(folder: Path, split: Split) -> Suspects:
    """Read a suspects folder, with the dense indices of the split.

    Raises DataError where the folder does not fit the split: an unknown user or item, a training pair, a repeated pair, a
    probability outside [0, 1], or a column of another type.
    """
    judge = artifacts.read_manifest(folder, KIND)["notes"]["judge"]
    path, table = folder / TABLE, _read_table(folder)
    users = _to_indices(table["user_id"], split.vocabulary.users, path)
    items = _to_indices(table["item_id"], split.vocabulary.items, path)
    probability = table["probability"].fill_null(np.nan).to_numpy()
    score = table[SCORE].cast(pl.Float64).fill_null(np.nan).to_numpy() if SCORE in table.columns else None
    suspects = Suspects(users, items, probability, judge, score)
    if observed := int(split.train.contains(users, items).sum()):
        raise DataError(f"{path} has {observed:,} training pairs, expected none; judge from this split")
    if len(np.unique(users * split.train.n_items + items)) < len(suspects):
        raise DataError(f"{path} has a pair twice, expected every candidate once; judge again")
    return suspects


def read_probabilities(folder: Path) -> Floats:
    """Return the probabilities of the labelled candidates, without a split. Raises DataError for an invalid table."""
    artifacts.read_manifest(folder, KIND)
    return _read_table(folder)["probability"].fill_nan(None).drop_nulls().to_numpy()


def _read_table(folder: Path) -> pl.DataFrame:
    path = folder / TABLE
    table = read_parquet(path)
    if missing := [name for name in SCHEMA if name not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]}, expected {', '.join(SCHEMA)}; judge again")
    numbers = ("probability", *([SCORE] if SCORE in table.columns else []))
    for name in ("user_id", "item_id", *numbers):
        kind = table[name].dtype
        fits = (kind == pl.Null or kind.is_numeric()) if name in numbers else not kind.is_nested()
        if not fits:
            expected = "numbers" if name in numbers else "ids"
            raise DataError(f"{path} has {kind} in column {name}, expected {expected}; judge again")
    table = table.with_columns(pl.col("probability").cast(pl.Float64))
    probabilities = table["probability"].fill_nan(None).drop_nulls().to_numpy()
    _require_probabilities(probabilities, f"{path} has", "judge again")
    return table


def _require_probabilities(values: Floats, where: str, remedy: str) -> None:
    if len(values) and not 0 <= values.min() <= values.max() <= 1:
        raise DataError(f"{where} probabilities from {values.min():g} to {values.max():g}, expected 0 to 1; {remedy}")


def _to_indices(ids: pl.Series, known: Mapping[str, int], path: Path) -> Indices:
    indices = ids.cast(pl.String).replace_strict(known, default=-1, return_dtype=pl.Int64).to_numpy()
    if len(indices) and indices.min() < 0:
        first = ids[int(indices.argmin())]
        raise DataError(f"{path} has {ids.name} {first!r}, which is not in the split; judge from this split")
    return np.asarray(indices)
