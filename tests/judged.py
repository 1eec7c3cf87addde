"""Suspects that no judge named, for tests of what is done with them."""

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


def judged(split: Split, *, per_user: int = 6) -> Suspects:
    """Some popular unobserved items of every user; the first half of them liked."""
    order = np.argsort(-split.train.item_counts, kind="stable")
    free = ~split.train.contains(np.arange(split.train.n_users)[:, None], order[None, :])
    users, places = np.nonzero(free & (free.cumsum(axis=1) <= per_user))
    probability = np.where(free.cumsum(axis=1)[users, places] <= per_user // 2, 0.9, 0.2)
    return Suspects(users, order[places], probability, "made up")


def written(out: Path, split_folder: Path, found: Suspects, notes: dict[str, Any] | None = None) -> Path:
    data = splits.read_split(split_folder)
    inputs = {"training data": splits.training_data_hash(split_folder)}
    nothing = pl.DataFrame(schema=suspects.REJECTED_SCHEMA)

    def build(draft: Draft) -> None:
        suspects.write_suspects(draft, found, data.vocabulary, nothing)
        draft.notes |= notes or {}

    Stage(
        suspects.KIND,
        {"judge": found.judge},
        inputs,
        build,
    ).run(out)
    return out
