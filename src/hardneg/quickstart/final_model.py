"""The chosen method, trained once more on every pair of the data: the model that recommends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hardneg import artifacts, pipeline
from hardneg.errors import DataError
from hardneg.pipeline import RUN, FusionConfig, PopularityConfig
from hardneg.studies.cells import Cell
from hardneg.studies.plan import Plan
from hardneg.studies.runs import by_epoch
from hardneg.studies.spec import SplitSpec
from hardneg.studies.study import Study
from hardneg.types import Progress

TITLE = "final model"


def fit_final_model(
    study: Study, cell: Cell, split_dir: Path, out: Path, work: Path, progress: Progress | None = None
) -> Path:
    """Train the method of a finished line on a split with every pair in train, and return its run folder, `out`.

    The epochs are the mean of those that validation chose in the study's runs, the weight of text their median. work:
    folder of artifacts and of a run that is fused. Killed at any moment, the same call continues.
    """
    if cell.popular:
        return pipeline.popularity_stage(split_dir, PopularityConfig(select=cell.config.fit.select)).run(out)
    splits = {cell.split: SplitSpec(folder=split_dir)}
    plan = Plan(study.spec.model_copy(update={"splits": splits}), study.cells, work, study.device)
    plan.build([cell], progress)
    if (problem := plan.problem_of(cell)) is not None:
        raise DataError(problem)
    folders = {section: artifact.folder for section, artifact in plan.artifacts_of(cell).items()}
    trained = next(
        one for one in study.cells if one.trains and one.table == cell.table and one.line == cell.trained_line
    )
    fit = trained.config.fit.model_copy(update={"epochs": mean_epochs(study, trained), "seed": study.spec.seeds[0]})
    config = trained.config.model_copy(update={"fit": fit})
    watch = None if progress is None else by_epoch(TITLE, fit.epochs, progress)
    own = {section: folder for section, folder in folders.items() if section in trained.entries}
    stage = pipeline.train_stage(split_dir, config, **own, validates=False, device=study.device, watch=watch)
    if cell.fusion is None:
        return stage.run(out)
    run = stage.run(work / "trained")
    fusion: FusionConfig = cell.fusion.config(fit.select).model_copy(update={"weights": (median_weight(study, cell),)})
    return pipeline.fuse_stage(run, split_dir, folders["vectors"], fusion).run(out)


def mean_epochs(study: Study, cell: Cell) -> int:
    """Return the rounded mean of the best epochs of a line's runs, 1 at least."""
    epochs = [notes["best epoch"] for notes in _notes(study, cell)]
    return max(1, round(sum(epochs) / len(epochs)))


def median_weight(study: Study, cell: Cell) -> float:
    """Return the median of the weights of text that a line's runs chose, the higher middle one of an even number."""
    weights: Sequence[float] = sorted(notes["weight"] for notes in _notes(study, cell))
    return weights[len(weights) // 2]


def _notes(study: Study, cell: Cell) -> list[dict[str, float]]:
    folders = [study.task(cell, seed).folder for seed in study.seeds(cell)]
    return [artifacts.read_manifest(folder, RUN)["notes"] for folder in folders]
