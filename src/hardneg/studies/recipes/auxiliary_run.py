"""A run that other artifacts are made from, trained once more on each split besides the runs of the study."""

from __future__ import annotations

from typing import ClassVar

from pydantic import NonNegativeInt

from hardneg import pipeline
from hardneg.stage import Stage
from hardneg.studies.naming import slug
from hardneg.studies.recipes import Entry, Recipe, StageContext, StudyFile
from hardneg.studies.runs import by_epoch
from hardneg.studies.spec import Grid


class AuxiliaryRun(Recipe):
    """A model and a row of the file, with the settings that the row has on the split, trained from train pairs alone."""

    section: ClassVar[str] = "run"
    makes: ClassVar[str | None] = pipeline.RUN
    model: str
    """A name under `models`."""
    row: str
    """A name under `rows`. For a row with several lines it is the first."""
    seed: NonNegativeInt = 1000
    """Seed of the training. A seed of the study would start from the same tables as its runs."""

    @property
    def run_name(self) -> str:
        """Part of folder names."""
        return f"{slug(self.model)}-{slug(self.row)}-seed{self.seed}"

    @property
    def implied(self) -> Entry:
        return Entry(self, self.run_name)

    def problems(self, where: str, file: StudyFile) -> list[str]:
        references = (("model", self.model, "models"), ("row", self.row, "rows"))
        problems = [
            f"{where}: found {noun} {name!r}, expected one of {', '.join(sorted(file.names[section]))}"
            for noun, name, section in references
            if name not in file.names[section]
        ]
        row = file.grid.rows.get(self.row)
        if row is not None and (row.negatives, row.suspects, row.trees) != (None, None, None):
            found = f"row {self.row!r} uses negatives, suspects or trees itself"
            problems.append(f"{where}: {found}, expected one that needs none")
        return problems

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        row = grid.rows.get(self.row)
        if row is None or (row.is_on(split) and row.is_with(self.model)):
            return []
        needed = f"a run of row {self.row!r} with {self.model!r} is needed"
        return [f"{needed}, which is left out on split {split!r}; see its `splits` and `models`"]

    def stage(self, context: StageContext) -> Stage:
        config, title = context.run_config(self.model, self.row), f"auxiliary run {self.row} with {self.model}"
        config = config.model_copy(update={"fit": config.fit.model_copy(update={"seed": self.seed})})
        watch = None if context.progress is None else by_epoch(title, config.fit.epochs, context.progress)
        return pipeline.train_stage(context.split_dir, config, device=context.device, watch=watch)
