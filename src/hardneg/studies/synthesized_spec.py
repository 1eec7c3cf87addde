"""Negatives that follow from labels: how a file asks for them, and how they are made on one split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from hardneg import pipeline
from hardneg.config import Config
from hardneg.finetuning import (
    NO_BASE,
    EncoderConfig,
    PerceptronConfig,
    SynthesisConfig,
    TemplateConfig,
    TuningConfig,
    base_model,
)
from hardneg.mining import LabelOptions
from hardneg.pipeline import FinetuneConfig, RunConfig
from hardneg.studies.auxiliary_runs import RunSpec, train_apart
from hardneg.studies.build_times import timed
from hardneg.types import Progress


class LabelsSpec(RunSpec):
    """Labels by a MixGCF of this file; the embeddings of its model are e_u and e_v."""

    draws: PositiveInt = 1
    """As in `hardneg label`."""


class ProfilesSpec(Config):
    """Extractive profiles, as they are or of the control."""

    shuffle_titles: NonNegativeInt | None = None
    """A seed: what is said of items is shuffled among them first."""

    @property
    def name(self) -> str:
        """As a folder's name."""
        return "profiles" if self.shuffle_titles is None else f"profiles-shuffled-{self.shuffle_titles}"


class SynthesisedSpec(Config):
    """Negatives by `hardneg label`, `finetune` and `mine --method synthesised`, profiles included."""

    method: Literal["synthesised"]
    labels: LabelsSpec
    base: str = "minilm"
    """As in `hardneg finetune`; none is the control without a language model."""
    profiles: ProfilesSpec = ProfilesSpec()
    template: TemplateConfig = TemplateConfig()
    model: EncoderConfig = EncoderConfig()
    perceptron: PerceptronConfig = PerceptronConfig()
    """Of base none."""
    tuning: TuningConfig = TuningConfig()
    untuned: bool = False
    """The ablation: nothing is tuned."""
    synthesis: SynthesisConfig = SynthesisConfig()

    @property
    def reads_texts(self) -> bool:
        """True where profiles matter."""
        return self.base != NO_BASE and self.template.texts

    def config(self) -> FinetuneConfig:
        """As the stage takes it."""
        tuning = self.tuning.model_copy(update={"epochs": 0}) if self.untuned else self.tuning
        return FinetuneConfig(template=self.template, model=self.model, perceptron=self.perceptron, tuning=tuning)


class FromLabelsSpec(Config):
    """Controls by `hardneg mine --method positive` and `--method labels`."""

    method: Literal["positive", "labels"]
    labels: LabelsSpec


LearntSpec = Annotated[SynthesisedSpec | FromLabelsSpec, Field(discriminator="method")]


@dataclass(frozen=True)
class Place:
    """A split, where its shared folders lie, and the device that trains.

    Folders are named by what is in them, so that several negatives share runs, labels and profiles.
    """

    split: Path
    shared: Path
    device: str = "cpu"

    def make(self, spec: LearntSpec, mixgcf: RunConfig, out: Path, progress: Progress | None) -> None:
        """Make everything that these negatives need, and them; what stands is not made again.

        mixgcf: settings of the run that labels come from.
        """
        labels = self._labels(spec.labels, mixgcf, progress)
        if isinstance(spec, FromLabelsSpec):
            with timed(out):
                pipeline.labels_control_stage(self.split, labels, spec.method).run(out)
        else:
            self._synthesise(spec, labels, out, progress)

    def _labels(self, spec: LabelsSpec, mixgcf: RunConfig, progress: Progress | None) -> Path:
        what = "the MixGCF that labels come from"
        run = train_apart(self.split, self.shared, spec, mixgcf, what=what, device=self.device, progress=progress)
        labels = self.shared / f"labels-{spec.run_name}-draws{spec.draws}"
        with timed(labels):
            pipeline.labels_stage(self.split, run, LabelOptions(draws=spec.draws), progress).run(labels)
        return labels

    def _synthesise(self, spec: SynthesisedSpec, labels: Path, out: Path, progress: Progress | None) -> None:
        source = None if spec.base == NO_BASE else base_model(spec.base, device=self.device)
        profiles = None if source is None else self.shared / spec.profiles.name
        if profiles is not None:
            with timed(profiles):
                pipeline.extract_profiles_stage(self.split, shuffle_titles=spec.profiles.shuffle_titles).run(profiles)
        tuned = out.with_name(out.name.replace("negatives-", "tuned-", 1))
        with timed(tuned):
            pipeline.tune_stage(self.split, profiles, labels, source, spec.config(), progress).run(tuned)
        with timed(out):
            pipeline.synthesize_stage(self.split, profiles, labels, tuned, source, spec.synthesis, progress).run(out)
