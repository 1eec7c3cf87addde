"""Suspects without a judge, for tests of their use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.judging import suspects
from hardneg.judging.suspects import Suspects
from hardneg.stage import Draft, Stage


def make_suspects(split: Split, *, per_user: int = 6) -> Suspects:
    """Return popular unobserved items of every user; the first half has probability 0.9, the others 0.2."""
    order = np.argsort(-split.train.item_counts, kind="stable")
    free = ~split.train.contains(np.arange(split.train.n_users)[:, None], order[None, :])
    users, places = np.nonzero(free & (free.cumsum(axis=1) <= per_user))
    probability = np.where(free.cumsum(axis=1)[users, places] <= per_user // 2, 0.9, 0.2)
    return Suspects(users, order[places], probability, "made up")


def write_folder(out: Path, split_dir: Path, rows: Suspects, notes: dict[str, Any] | None = None) -> Path:
    """Write a suspects folder of a split, and return it."""
    vocabulary = splits.read_split(split_dir).vocabulary

    def build(draft: Draft) -> None:
        suspects.write_suspects(draft, rows, vocabulary, pl.DataFrame(schema=suspects.REJECTED_SCHEMA))
        draft.notes |= notes or {}

    inputs = {"training data": splits.training_data_hash(split_dir)}
    return Stage(suspects.KIND, {"judge": rows.judge}, inputs, build).run(out)
