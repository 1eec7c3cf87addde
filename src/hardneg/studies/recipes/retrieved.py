"""Negatives retrieved by text."""

from __future__ import annotations

from typing import Literal

from hardneg import pipeline
from hardneg.mining import RetrievalConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, NegativesRecipe, StageContext
from hardneg.studies.recipes.profiles import ProfilesRecipe, item_text_problems
from hardneg.studies.spec import Grid


class Retrieved(NegativesRecipe):
    """Negatives by `hardneg negatives retrieve`, from extractive profiles."""

    method: Literal["retrieved"] = "retrieved"
    options: RetrievalConfig = RetrievalConfig()
    encoder: str = "minilm"

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        return {"profiles": ProfilesRecipe().implied}

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid)

    def stage(self, context: StageContext) -> Stage:
        encoder, profiles_dir = context.open_encoder(self.encoder), context.folders["profiles"]
        return pipeline.retrieve_stage(context.split_dir, profiles_dir, self.options, encoder, context.progress)
