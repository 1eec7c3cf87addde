"""Extractive profiles, and the check of recipes that read item texts."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import NonNegativeInt

from hardneg import pipeline
from hardneg.data import columns as c
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, Recipe, StageContext
from hardneg.studies.spec import Grid


class ProfilesRecipe(Recipe):
    """Extractive profiles of items and users, as they are or with item texts shuffled."""

    section: ClassVar[str] = "profiles"
    shuffle_titles: NonNegativeInt | None = None
    """Seed by which item texts are shuffled among items first, as a control."""

    @property
    def implied(self) -> Entry:
        return Entry(self, "" if self.shuffle_titles is None else f"shuffled-{self.shuffle_titles}")

    def stage(self, context: StageContext) -> Stage:
        return pipeline.extract_profiles_stage(context.split_dir, shuffle_titles=self.shuffle_titles)


def item_text_problems(split: str, grid: Grid) -> list[str]:
    """Return a problem where the items of a split are known to have no texts."""
    path = grid.splits[split].folder / "items.parquet"
    if not path.is_file() or any(name in c.TEXT for name in pl.read_parquet_schema(path)):
        return []
    return [f"split {split!r} has no item texts to retrieve from; restrict the row with `splits`"]
