"""Artifacts that others are made from, and that are no entries of a file: text vectors, auxiliary runs, labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl

from hardneg import pipeline
from hardneg.config import PerRow, Seed
from hardneg.data import Split
from hardneg.data import columns as c
from hardneg.mining import LabelOptions, labels
from hardneg.models import TextModelConfig
from hardneg.pipeline import RunConfig
from hardneg.random import generator
from hardneg.sampling import MixGCF
from hardneg.stage import Stage
from hardneg.studies.recipes import VECTOR_SIZE, Entry, ProfilesRecipe, Recipe, StageContext, StudyFile, slug
from hardneg.studies.recipes.profiles import ExtractiveProfiles
from hardneg.studies.runs import by_epoch
from hardneg.studies.spec import Grid, TextsSpec
from hardneg.text import TextVectors
from hardneg.text.text_vectors import ItemSource
from hardneg.types import unit_rows


class TextVectorsRecipe(Recipe):
    """Item texts, or item profiles, and user profiles, encoded, for late fusion and models that read text.

    The entry is named by what is encoded.
    """

    section: ClassVar[str] = "vectors"
    encoder: str
    profiles: ProfilesRecipe = ExtractiveProfiles()
    items: ItemSource = "texts"

    @property
    def implied(self) -> Entry:
        of_items = "" if self.items == "texts" else "item profiles"
        return Entry(self, " ".join(filter(None, (self.encoder, self.profiles.implied.name, of_items))))

    @classmethod
    def of(cls, texts: TextsSpec) -> TextVectorsRecipe:
        """Return the recipe of some texts of a file."""
        return cls(encoder=texts.encoder, profiles=texts.profiles, items=texts.items)

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid) if self.items == "texts" else []

    def stand_in(self, split: Split, config: RunConfig) -> TextVectors:
        rng, train = generator(0, "stand-in"), split.train
        items, users = (
            unit_rows(rng.standard_normal((n, VECTOR_SIZE), np.float32)) for n in (train.n_items, train.n_users)
        )
        return TextVectors(items, users, "stand-in")

    def stage(self, context: StageContext) -> Stage:
        encoder, profiles_dir = context.open_encoder(self.encoder), context.folders["profiles"]
        return pipeline.encode_texts_stage(context.split_dir, profiles_dir, encoder, context.progress, items=self.items)


def item_text_problems(split: str, grid: Grid) -> list[str]:
    """Return a problem where the items of a split are known to have no texts."""
    path = grid.splits[split].folder / "items.parquet"
    if not path.is_file() or any(name in c.TEXT for name in pl.read_parquet_schema(path)):
        return []
    return [f"split {split!r} has no item texts; restrict the row with `splits`"]


class AuxiliaryRun(Recipe):
    """A model and a row of the file, with the settings that the row has on the split, trained from train pairs alone."""

    section: ClassVar[str] = "run"
    makes: ClassVar[str | None] = pipeline.RUN
    model: str
    """A name under `models`."""
    row: str
    """A name under `rows`. For a row with several lines it is the first."""
    seed: Seed = 1000
    """Seed of the training. A seed of the study would start from the same tables as its runs."""

    @property
    def implied(self) -> Entry:
        return Entry(self, f"{slug(self.model)}-{slug(self.row)}-seed{self.seed}")

    def problems(self, file: StudyFile) -> list[str]:
        problems = file.reference_problems("models", self.model) + file.reference_problems("rows", self.row)
        row = file.grid.rows.get(self.row)
        if row is not None and (row.negatives, row.suspects, row.trees) != (None, None, None):
            problems.append(f"row {self.row!r} uses negatives, suspects or trees itself, expected one that needs none")
        models = [model for model in (file.grid.models.get(self.model), row and row.model) if model is not None]
        if any(isinstance(model, TextModelConfig) for model in models):
            problems.append(f"model {self.model!r} of row {self.row!r} reads text, expected a backbone without text")
        return problems

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        row = grid.rows.get(self.row)
        if row is None or grid.has_line(split, self.model, row):
            return []
        needed = f"a run of row {self.row!r} with {self.model!r} is needed"
        return [f"{needed}, which is left out on split {split!r}; see its `splits` and `models`"]

    def stage(self, context: StageContext) -> Stage:
        config, title = context.run_config(self.model, self.row), f"auxiliary run {self.row} with {self.model}"
        config = config.model_copy(update={"fit": config.fit.model_copy(update={"seed": self.seed})})
        watch = None if context.progress is None else by_epoch(title, config.fit.epochs, context.progress)
        return pipeline.train_stage(context.split_dir, config, device=context.device, watch=watch)


class Labels(AuxiliaryRun):
    """Labels by a MixGCF of the file; the embeddings of its model are e_u and e_v."""

    section: ClassVar[str] = "labels"
    makes: ClassVar[str | None] = labels.KIND
    draws: PerRow = 1
    """Draws of negatives whose mean is a label, as in `hardneg finetune label`."""
    onto: str | None = None
    """Text encoder: labels are rotated onto the encoded item texts, so that those of several splits are in one space."""

    @property
    def implied(self) -> Entry:
        onto = "" if self.onto is None else f"-onto-{slug(self.onto)}"
        return Entry(self, f"{super().implied.name}-draws{self.draws}{onto}")

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        run = {"run": AuxiliaryRun(model=self.model, row=self.row, seed=self.seed).implied}
        if self.onto is None:
            return run
        return run | {"onto": TextVectorsRecipe(encoder=self.onto, profiles=ExtractiveProfiles(users=False)).implied}

    def problems(self, file: StudyFile) -> list[str]:
        problems, row = super().problems(file), file.grid.rows.get(self.row)
        if row is not None and not isinstance(row.sampler, MixGCF):
            found = f"row {self.row!r} has sampler {row.sampler.kind!r}"
            problems.append(f"{found}, expected 'mixgcf', whose negatives labels are")
        return problems

    def stage(self, context: StageContext) -> Stage:
        options, run_dir = LabelOptions(draws=self.draws), context.folders["run"]
        onto = context.folders.get("onto")
        return pipeline.labels_stage(context.split_dir, run_dir, options, context.progress, onto=onto)
