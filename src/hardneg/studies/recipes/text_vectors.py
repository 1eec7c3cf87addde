"""Texts of a split as vectors, for late fusion."""

from __future__ import annotations

from typing import ClassVar

from hardneg import pipeline
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, Recipe, StageContext
from hardneg.studies.recipes.profiles import ProfilesRecipe


class TextVectorsRecipe(Recipe):
    """Item texts and extractive profiles, encoded; the entry is named by the encoder."""

    section: ClassVar[str] = "vectors"
    encoder: str
    profiles: ProfilesRecipe = ProfilesRecipe()

    @property
    def implied(self) -> Entry:
        return Entry(self, self.encoder)

    def stage(self, context: StageContext) -> Stage:
        encoder, profiles_dir = context.open_encoder(self.encoder), context.folders["profiles"]
        return pipeline.encode_texts_stage(context.split_dir, profiles_dir, encoder, context.progress)
