"""Negatives synthesized by a fine-tuned model, and the model."""

from __future__ import annotations

from typing import ClassVar, Literal

from hardneg import pipeline
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
from hardneg.pipeline import FinetuneConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, NegativesRecipe, Recipe, StageContext, StudyFile
from hardneg.studies.recipes.labels import Labels
from hardneg.studies.recipes.profiles import ProfilesRecipe, item_text_problems
from hardneg.studies.spec import Grid


class Synthesized(NegativesRecipe):
    """Negatives by `hardneg finetune label`, `finetune train` and `finetune synthesize`, with extractive profiles."""

    method: Literal["synthesised"] = "synthesised"
    labels: Labels
    base: str = "minilm"
    """Base model, as in `hardneg finetune train`; none is the control without a language model."""
    profiles: ProfilesRecipe = ProfilesRecipe()
    template: TemplateConfig = TemplateConfig()
    model: EncoderConfig = EncoderConfig()
    perceptron: PerceptronConfig = PerceptronConfig()
    """Options of base none."""
    tuning: TuningConfig = TuningConfig()
    untuned: bool = False
    """Leave the base as it is, as an ablation."""
    synthesis: SynthesisConfig = SynthesisConfig()

    def config(self) -> FinetuneConfig:
        """Return the settings of the tuning stage."""
        tuning = self.tuning.model_copy(update={"epochs": 0}) if self.untuned else self.tuning
        return FinetuneConfig(template=self.template, model=self.model, perceptron=self.perceptron, tuning=tuning)

    def open_base(self, device: str) -> ModelSource | None:
        """Open the base; None where there is no language model."""
        return None if self.base == NO_BASE else base_model(self.base, device=device)

    def material(self) -> dict[str, Entry]:
        """Return what both stages read: labels, and profiles where there is a language model."""
        return {"labels": self.labels.implied} | ({} if self.base == NO_BASE else {"profiles": self.profiles.implied})

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        return {**self.material(), "tuned": Entry(TunedModel(negatives=self), name)}

    def problems(self, where: str, file: StudyFile) -> list[str]:
        problems = super().problems(where, file)
        try:
            self.config().settings(self.base)  # refuses settings without effect for the base
        except ConfigError as error:
            problems.append(f"{where}: {error}")
        return problems

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid) if self.base != NO_BASE and self.template.texts else []

    def stage(self, context: StageContext) -> Stage:
        folders = (context.folders.get("profiles"), context.folders["labels"], context.folders["tuned"])
        source = self.open_base(context.device)
        return pipeline.synthesize_stage(context.split_dir, *folders, source, self.synthesis, context.progress)


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
