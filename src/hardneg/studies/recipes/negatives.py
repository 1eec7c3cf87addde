"""Negatives made from texts, from labels, from a fine-tuned model, or from other negatives as controls."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from hardneg import pipeline
from hardneg.config import PerRow, Seed
from hardneg.data import Split
from hardneg.errors import ConfigError
from hardneg.finetuning import (
    NO_BASE,
    EncoderConfig,
    PerceptronConfig,
    SynthesisConfig,
    TemplateConfig,
    TuningConfig,
    base_model,
)
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.packages.table import MODELS
from hardneg.mining import RetrievalConfig
from hardneg.pipeline import FinetuneConfig, TuningSet
from hardneg.sampling import mined
from hardneg.sampling.mined import NeighbourSource
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, NameIn, NegativesRecipe, ProfilesRecipe, Recipe, StageContext, StudyFile
from hardneg.studies.recipes.implied import Labels, item_text_problems
from hardneg.studies.recipes.profiles import ExtractiveProfiles
from hardneg.studies.spec import Grid
from hardneg.types import WeightPrecision


class Retrieved(NegativesRecipe):
    """Negatives by `hardneg negatives retrieve`."""

    method: Literal["retrieved"] = "retrieved"
    options: RetrievalConfig = RetrievalConfig()
    encoder: str = "minilm"
    profiles: ProfilesRecipe = ExtractiveProfiles()

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid)

    def stage(self, context: StageContext) -> Stage:
        encoder, profiles_dir = context.open_encoder(self.encoder), context.folders["profiles"]
        return pipeline.retrieve_stage(context.split_dir, profiles_dir, self.options, encoder, context.progress)


class Neighbours(NegativesRecipe):
    """Neighbours of items by `hardneg neighbours find`, for sampler semantic-mixing."""

    makes: ClassVar[str | None] = mined.NEIGHBOURS
    method: Literal["neighbours"] = "neighbours"
    by: NeighbourSource = "text"
    k: PerRow = 10
    """Neighbours of each item."""
    encoder: str = "minilm"
    """For neighbours by text."""
    profiles: ProfilesRecipe | None = None
    """For neighbours by text: item profiles are encoded in place of the item texts."""
    seed: Seed = 0
    """For random neighbours."""

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid) if self.by == "text" else []

    def problems(self, file: StudyFile) -> list[str]:
        unused = self.profiles is not None and self.by != "text"
        problem = f"found profiles for neighbours by {self.by}, which read none; leave `profiles` out"
        return super().problems(file) + ([problem] if unused else [])

    def stage(self, context: StageContext) -> Stage:
        encoder = context.open_encoder(self.encoder) if self.by == "text" else None
        return pipeline.neighbours_stage(
            context.split_dir,
            self.by,
            k=self.k,
            encoder=encoder,
            profiles_dir=context.folders.get("profiles"),
            seed=self.seed,
            progress=context.progress,
        )


class NegativesControl(NegativesRecipe):
    """Random vectors of the norms of other negatives, or other negatives with their pairs permuted."""

    method: Literal["random", "shuffled"]
    like: Annotated[str, NameIn("negatives", not_own_kind=True)]
    """A name under `negatives`."""
    seed: Seed = 0

    def problems(self, file: StudyFile) -> list[str]:
        problems, like = super().problems(file), file.grid.negatives.get(self.like)
        if like is not None and like.makes == mined.NEIGHBOURS:
            problems.append(f"like {self.like!r} is neighbours, which have no vectors; name negatives")
        return problems

    def stage(self, context: StageContext) -> Stage:
        is_random = self.method == "random"
        stage = pipeline.random_negatives_stage if is_random else pipeline.shuffled_negatives_stage
        return stage(context.split_dir, context.folders["like"], self.seed)


class LabelsControl(NegativesRecipe):
    """Negatives without a model in between: the embedding of the positive, or the label itself."""

    method: Literal["positive", "labels"]
    labels: Labels

    def stage(self, context: StageContext) -> Stage:
        return pipeline.labels_control_stage(context.split_dir, context.folders["labels"], self.method)


class Synthesized(NegativesRecipe):
    """Negatives by `hardneg finetune label`, `finetune train` and `finetune synthesize`."""

    method: Literal["synthesised"] = "synthesised"
    labels: Labels
    base: str = "minilm"
    """Base model, as in `hardneg finetune train`; none is the control without a language model."""
    precision: WeightPrecision | None = None
    """Precision of the base's weights; None is float32 on the CPU and bfloat16 elsewhere."""
    profiles: ProfilesRecipe = ExtractiveProfiles()
    template: TemplateConfig = TemplateConfig()
    model: EncoderConfig = EncoderConfig()
    perceptron: PerceptronConfig = PerceptronConfig()
    """Options of base none."""
    tuning: TuningConfig = TuningConfig()
    untuned: bool = False
    """Leave the base as it is, as an ablation."""
    tuned_on: str | None = None
    """A name under `splits`: the model is tuned on that split and used on all; needs labels `onto` item texts."""
    synthesis: SynthesisConfig = SynthesisConfig()

    def config(self) -> FinetuneConfig:
        """Return the settings of the tuning stage."""
        tuning = self.tuning.model_copy(update={"epochs": 0}) if self.untuned else self.tuning
        return FinetuneConfig(template=self.template, model=self.model, perceptron=self.perceptron, tuning=tuning)

    def open_base(self, device: str) -> ModelSource | None:
        """Open the base; None where there is no language model."""
        return None if self.base == NO_BASE else base_model(self.base, device=device, precision=self.precision)

    def material(self) -> dict[str, Entry]:
        """Return what both stages read: labels, and profiles where there is a language model."""
        return {"labels": self.labels.implied} | ({} if self.base == NO_BASE else {"profiles": self.profiles.implied})

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        model = TunedModel if self.tuned_on is None else TransferredModel
        return {**self.material(), "tuned": Entry(model(negatives=self), name, self.tuned_on)}

    def problems(self, file: StudyFile) -> list[str]:
        problems = super().problems(file) + file.reference_problems("splits", self.tuned_on)
        if self.tuned_on is not None and (self.labels.onto is None or self.base == NO_BASE):
            needed = "a language model as base, and labels in one space such as `labels: {onto: minilm}`"
            problems.append(f"found tuned_on {self.tuned_on!r}, which needs {needed}")
        try:
            self.config().settings(self.base)  # refuses settings without effect for the base
            if self.base in MODELS:
                self.open_base("cpu")  # refuses a packaged model that is not here
        except ConfigError as error:
            problems.append(str(error))
        return problems

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid) if self.base != NO_BASE and self.template.texts else []

    def stage(self, context: StageContext) -> Stage:
        folders = (context.folders.get("profiles"), context.folders["labels"], context.folders["tuned"])
        source = self.open_base(context.device)
        return pipeline.synthesize_stage(context.split_dir, *folders, source, self.synthesis, context.progress)

    def estimate_seconds(self, split: Split, device: str) -> float:
        return pipeline.estimate_finetuning(split, self.open_base(device), self.config(), self.synthesis)


class TunedModel(Recipe):
    """The model that synthesizes some negatives."""

    section: ClassVar[str] = "tuned"
    negatives: Synthesized

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        return self.negatives.material()

    def stage(self, context: StageContext) -> Stage:
        profiles_dir, labels_dir = context.folders.get("profiles"), context.folders["labels"]
        source, config = self.negatives.open_base(context.device), self.negatives.config()
        return pipeline.tune_stage(context.split_dir, profiles_dir, labels_dir, source, config, context.progress)

    def estimate_seconds(self, split: Split, device: str) -> float:
        return pipeline.estimate_finetuning(split, self.negatives.open_base(device), self.negatives.config())


class TransferredModel(TunedModel):
    """The model that synthesizes negatives for splits that it never saw, tuned on one split alone."""

    def stage(self, context: StageContext) -> Stage:
        source, config = self.negatives.open_base(context.device), self.negatives.config()
        assert source is not None  # else a problem of the negatives
        material = TuningSet(context.split_dir, context.folders["profiles"], context.folders["labels"])
        return pipeline.tune_pooled_stage([material], source, config, context.progress)
