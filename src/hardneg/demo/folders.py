"""Folders of the demo, and the stages that fill them before training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hardneg import pipeline
from hardneg.data import SplitConfig, simulate
from hardneg.demo.language_model import NAMING
from hardneg.llm.session import Session
from hardneg.mining import RetrievalConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import slug
from hardneg.text import sentence_encoder
from hardneg.types import Progress

SPLIT = SplitConfig(by="ratio", train=0.7, valid=0.1, test=0.2)
"""A fifth of the pairs is for the test, since a small dataset needs them to distinguish methods."""


@dataclass(frozen=True)
class DemoFolders:
    """Folders of a demo in `out`. text: quality of the item texts."""

    out: Path
    text: simulate.TextQuality

    @property
    def dataset(self) -> Path:
        """The simulated dataset, with its truth."""
        return self.out / "dataset"

    @property
    def split(self) -> Path:
        """Its split."""
        return self.out / "split"

    @property
    def profiles(self) -> Path:
        """Extractive profiles."""
        return self.out / "profiles"

    @property
    def retrieved(self) -> Path:
        """Negatives that were retrieved by text."""
        return self.out / "negatives" / "retrieved"

    def named(self, model: str) -> Path:
        """Negatives that this language model named."""
        return self.out / "negatives" / f"named-by-{slug(model)}"

    def control(self, negatives: Path) -> Path:
        """Random vectors in place of other negatives."""
        return negatives.with_name("random" if negatives == self.retrieved else f"random-{negatives.name}")

    def prepare(self) -> None:
        """Simulate, split and extract profiles."""
        pipeline.simulate_stage(simulate.PRESETS[self.text]).run(self.dataset)
        pipeline.split_stage(self.dataset, SPLIT).run(self.split)
        pipeline.extract_profiles_stage(self.split).run(self.profiles)

    def naming_stage(self, session: Session, progress: Progress | None = None) -> Stage:
        """Return the stage in which the language model of the session names negatives."""
        return pipeline.generate_stage(self.split, None, session, sentence_encoder(), NAMING, progress=progress)

    def make_negatives(self, session: Session | None, progress: Progress | None) -> None:
        """Retrieve negatives and let the model, if there is one, name others; make a control of each."""
        retrieve = pipeline.retrieve_stage(self.split, self.profiles, RetrievalConfig(), sentence_encoder(), progress)
        retrieve.run(self.retrieved)
        made = [self.retrieved]
        if session is not None:
            made.append(self.naming_stage(session, progress).run(self.named(session.model.name)))
        for negatives in made:
            pipeline.random_negatives_stage(self.split, negatives, seed=0).run(self.control(negatives))
