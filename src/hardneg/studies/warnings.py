"""What a reader of a study's tables should know besides the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hardneg import artifacts
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.pipeline.suspect_use import no_suspects_warning
from hardneg.studies.auxiliary_runs import RunSpec
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.study import Study


def on_table(study: Study, split: str, cells: Sequence[Cell], done: Mapping[str, int]) -> list[str]:
    """Of one table. cells: its lines. done: line -> seeds that stand."""
    remarks = [_of_seeds(cell, done[cell.line], len(study.seeds(cell))) for cell in cells]
    no_mask = study.stages.no_mask(split)
    remarks += [] if no_mask is None else [f"No table under the released mask: {no_mask}."]
    remarks += [_of_suspects(study, cell) for cell in cells]
    return [remark for remark in remarks if remark]


def _of_seeds(cell: Cell, done: int, seeds: int) -> str:
    if done < MIN_SEEDS:
        few = "" if seeds >= MIN_SEEDS else f", expected {MIN_SEEDS} at least"
        return f"{cell.line}: {done} of {seeds} seeds finished{few}; left out."
    return "" if done == seeds else f"{cell.line}: {done} of {seeds} seeds finished."


def _of_suspects(study: Study, cell: Cell) -> str:
    """That a row with suspects has none, so that it is the row without them."""
    folder, use = study.stages.suspects(cell.split, cell.suspects), cell.config.suspects
    if folder is None or use is None or not artifacts.is_artifact(folder):
        return ""
    said = no_suspects_warning(folder, use)
    return said and f"{cell.line}: {said}."


def remarks_on(study: Study) -> list[str]:
    """Of the study as a whole."""
    return [*_unsure(study), *dict.fromkeys(_twins(study))]


def _unsure(study: Study) -> Iterator[str]:
    """Folders made before anyone noted as what."""
    unsure = study.stages.unsure(study.cells)
    for split in dict.fromkeys(one.split for one in unsure):
        named = ", ".join(one.named for one in unsure if one.split == split)
        yield (
            f"Made on {split} before it was noted what was asked: {named}. Whether they are what the file asks now is "
            "known once the study is run again, which trains nothing that stands."
        )


def _twins(study: Study) -> Iterator[str]:
    """Runs trained apart under a seed of the study start from the same tables, and look at pairs in the same order."""
    for one in study.stages.wanted(study.cells):
        run = study.stages.trained_for(one)
        if run is not None and run.seed in study.spec.seeds:
            yield _twin(run)


def _twin(run: RunSpec) -> str:
    return (
        f"The run of {run.row} with {run.model} that others are made from has seed {run.seed}, which is one of the study's: "
        "it is a twin of the runs under that seed, with the same first tables."
    )
