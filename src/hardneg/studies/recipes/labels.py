"""Labels drawn with a MixGCF run, and the negatives that are labels or positives themselves."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from hardneg import pipeline
from hardneg.mining import LabelOptions, labels
from hardneg.sampling import MixGCF
from hardneg.stage import Stage
from hardneg.studies.recipes import Entry, NegativesRecipe, StageContext, StudyFile
from hardneg.studies.recipes.auxiliary_run import AuxiliaryRun
from hardneg.studies.spec import Grid


class Labels(AuxiliaryRun):
    """Labels by a MixGCF of the file; the embeddings of its model are e_u and e_v."""

    section: ClassVar[str] = "labels"
    makes: ClassVar[str | None] = labels.KIND
    draws: PositiveInt = 1
    """Draws of negatives whose mean is a label, as in `hardneg finetune label`."""

    @property
    def implied(self) -> Entry:
        return Entry(self, f"{self.run_name}-draws{self.draws}")

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        return {"run": AuxiliaryRun(model=self.model, row=self.row, seed=self.seed).implied}

    def problems(self, where: str, file: StudyFile) -> list[str]:
        problems, row = super().problems(where, file), file.grid.rows.get(self.row)
        if row is not None and not isinstance(row.sampler, MixGCF):
            found = f"row {self.row!r} has sampler {row.sampler.kind!r}"
            problems.append(f"{where}: {found}, expected 'mixgcf', whose negatives labels are")
        return problems

    def stage(self, context: StageContext) -> Stage:
        options = LabelOptions(draws=self.draws)
        return pipeline.labels_stage(context.split_dir, context.folders["run"], options, context.progress)


class LabelsControl(NegativesRecipe):
    """Negatives without a model in between: the embedding of the positive, or the label itself."""

    method: Literal["positive", "labels"]
    labels: Labels

    def stage(self, context: StageContext) -> Stage:
        return pipeline.labels_control_stage(context.split_dir, context.folders["labels"], self.method)
