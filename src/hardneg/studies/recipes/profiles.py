"""Profiles that need no language model: extractive ones, and other profiles shuffled as a control."""

from __future__ import annotations

from typing import Literal

from hardneg import pipeline
from hardneg.config import Seed
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, ProfilesRecipe, StageContext


class ExtractiveProfiles(ProfilesRecipe):
    """Extractive profiles of items and users, as they are or with item texts shuffled."""

    method: Literal["extractive"] = "extractive"
    shuffle_titles: Seed | None = None
    """Seed by which item texts are shuffled among items first, as a control."""
    users: bool = True
    """False leaves user profiles blank, where a user is the mean of the train items; a third of the texts to encode."""

    @property
    def implied(self) -> Entry:
        parts = [
            "" if self.shuffle_titles is None else f"shuffled-{self.shuffle_titles}",
            "" if self.users else "items",
        ]
        return Entry(self, " ".join(filter(None, parts)))

    def stage(self, context: StageContext) -> Stage:
        return pipeline.extract_profiles_stage(context.split_dir, shuffle_titles=self.shuffle_titles, users=self.users)


class ShuffledProfiles(ProfilesRecipe):
    """A control: the profiles of another recipe, permuted among items and among users."""

    method: Literal["shuffled"] = "shuffled"
    like: ProfilesRecipe
    seed: Seed = 0

    @property
    def implied(self) -> Entry:
        return Entry(self, f"{self.like.implied.name} shuffled {self.seed}")

    def stage(self, context: StageContext) -> Stage:
        return pipeline.shuffle_profiles_stage(context.split_dir, context.folders["like"], self.seed)
