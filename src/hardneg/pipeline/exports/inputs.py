"""Inputs of an export, and the id tables that accompany its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.pipeline.inference import FinishedRun, read_run
from hardneg.sampling import mined
from hardneg.sampling.mined import MinedNegatives


@dataclass(frozen=True)
class ExportInputs:
    """A folder to export, its split where one is read, and profiles where they are given."""

    source: Path
    split_dir: Path | None = None
    profiles_dir: Path | None = None

    @property
    def split(self) -> Path:
        """The split folder, which exists for a source that is not a run."""
        if self.split_dir is None:
            raise ConfigError(f"found no split of {self.source}; give it with --split")
        return self.split_dir

    def read_split(self) -> Split:
        """Read the split."""
        return splits.read_split(self.split)

    @cached_property
    def run(self) -> FinishedRun:
        """The run. Raises ConfigError where its scores are more than products of embeddings."""
        run = read_run(self.source)
        if run.bonus is not None:
            raise ConfigError(
                f"{self.source} is reranked: its embeddings lack the judge's scores; export it --to bundle, or export "
                "the run that it reranked"
            )
        return run

    def read_negatives(self, split: Split) -> MinedNegatives:
        """Read the negatives."""
        return mined.read_negatives(self.source, split.vocabulary, len(split.train))

    def user_table(self) -> pl.DataFrame:
        """Return user_id, in the order of the run's users."""
        return read_parquet(self.source / "users.parquet").select(c.USER_ID)

    def item_table(self) -> pl.DataFrame:
        """Return item_id and title, in the order of the run's items."""
        items = read_parquet(self.source / "items.parquet")
        return items.select(name for name in (c.ITEM_ID, c.TITLE) if name in items.columns)


def pair_table(split: Split) -> pl.DataFrame:
    """Return user_id, positive_item_id and, if known, positive_title of the train pairs."""
    columns = mined.id_columns(split.train, split.vocabulary, np.arange(len(split.train)))
    if c.TITLE in split.texts.columns:
        columns["positive_title"] = split.texts[c.TITLE].gather(split.train.items)
    return pl.DataFrame(columns)
