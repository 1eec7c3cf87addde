"""Neighbours of items, for sampler semantic-mixing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from hardneg import pipeline
from hardneg.sampling import mined
from hardneg.sampling.mined import NeighbourSource
from hardneg.stage import Stage
from hardneg.studies.recipes import NegativesRecipe, StageContext
from hardneg.studies.recipes.profiles import item_text_problems
from hardneg.studies.spec import Grid


class Neighbours(NegativesRecipe):
    """Neighbours of items by `hardneg neighbours find`."""

    makes: ClassVar[str | None] = mined.NEIGHBOURS
    method: Literal["neighbours"] = "neighbours"
    by: NeighbourSource = "text"
    k: PositiveInt = 10
    """Neighbours of each item."""
    encoder: str = "minilm"
    """For neighbours by text."""
    seed: NonNegativeInt = 0
    """For random neighbours."""

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid) if self.by == "text" else []

    def stage(self, context: StageContext) -> Stage:
        encoder = context.open_encoder(self.encoder) if self.by == "text" else None
        return pipeline.neighbours_stage(
            context.split_dir, self.by, k=self.k, encoder=encoder, seed=self.seed, progress=context.progress
        )
