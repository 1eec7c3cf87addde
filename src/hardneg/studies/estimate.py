"""Estimates of the time that runs will take, from training each cell for a moment on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardneg import artifacts
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import FitInputs, fit_backbone
from hardneg.judging.suspects import read_suspects
from hardneg.pipeline import RUN, RunConfig, suspect_use
from hardneg.sampling import ItemNeighbours, MinedNegatives, mined
from hardneg.studies.cells import Cell
from hardneg.studies.plan import Artifact, Plan
from hardneg.trees import Trees, trees_folder
from hardneg.types import Progress

SECONDS = 1.5
"""Time for which the steps of one cell are measured, after a first step that is not counted."""


@dataclass(frozen=True)
class CellToTime:
    """Runs of one cell that are to be made.

    left: their number. shared: section -> artifact that they read; finished or not. finished: folders of finished runs,
    whose epochs predict those of the others. sequential: trained before the others, one after another.
    """

    name: str
    split_dir: Path
    config: RunConfig
    left: int
    shared: Mapping[str, Artifact] = field(default_factory=dict)
    finished: Sequence[Path] = ()
    sequential: bool = False


@dataclass(frozen=True)
class CellEstimate:
    """Time of the runs of one cell.

    epochs: of a run; the mean of `known` finished runs, or the upper bound where `known` is 0.
    """

    name: str
    left: int
    seconds_per_epoch: float
    epochs: float
    known: int
    sequential: bool = False

    @property
    def hours(self) -> float:
        """Time of all runs that are left, one after another."""
        return self.left * self.epochs * self.seconds_per_epoch / 3600

    @property
    def epochs_text(self) -> str:
        """The number of epochs, and where it comes from."""
        if self.known:
            return f"{self.epochs:.0f}, mean of {self.known} finished"
        return f"{self.epochs:.0f}, the upper bound"


@dataclass(frozen=True)
class Estimate:
    """Time of what a study or a search has left. total: number of runs or trials. finished: of these."""

    cells: list[CellEstimate]
    total: int
    finished: int


class _TimedEnough(Exception):  # noqa: N818 - no error
    """Ends a training of which enough steps were timed."""


def auxiliary_cells_to_time(plan: Plan, cells: Sequence[Cell]) -> list[CellToTime]:
    """Return the auxiliary runs that are still to be trained for what cells need."""
    return [
        CellToTime(f"{cell.name}, auxiliary run", plan.grid.splits[cell.split].folder, cell.config, 1, sequential=True)
        for cell in plan.auxiliary_cells(cells)
    ]


def estimate_cells(
    cells: Sequence[CellToTime], *, device: str = "cpu", progress: Progress | None = None
) -> list[CellEstimate]:
    """Time every cell that has runs left; nothing of the training is kept.

    Cells that differ only in learning rate, L2, seed or stopping share a timing. One validation is timed, and counted as
    often as runs validate.
    """
    to_time = [cell for cell in cells if cell.left]
    read_split = lru_cache(maxsize=1)(splits.read_split)
    timings: dict[str, tuple[float, float]] = {}
    estimates = []
    for number, cell in enumerate(to_time, start=1):
        config = cell.config
        shared = sorted(artifact.folder for artifact in cell.shared.values())
        key = str((cell.split_dir, shared, config.model, config.sampler, config.suspects, config.fit.batch_size))
        if key not in timings:
            split = read_split(cell.split_dir)
            timings[key] = _time_epoch(cell, split, device), _time_validation(config, split, device)
        estimates.append(_estimate(cell, *timings[key]))
        if progress is not None:
            progress("timing", number, len(to_time))
    return estimates


def _estimate(cell: CellToTime, epoch_seconds: float, validation_seconds: float) -> CellEstimate:
    finished = [artifacts.read_manifest(folder, RUN)["notes"]["epochs"] for folder in cell.finished]
    seconds = epoch_seconds + validation_seconds / cell.config.fit.check_every
    epochs = float(np.mean(finished)) if finished else float(cell.config.fit.epochs)
    return CellEstimate(cell.name, cell.left, seconds, epochs, len(finished), cell.sequential)


def _time_epoch(cell: CellToTime, split: Split, device: str) -> float:
    """Return the seconds of an epoch, from training for a moment."""
    suspects, use = _read_or_stand_in(cell, "suspects", split, read_suspects), cell.config.suspects
    used = suspect_use.UsedSuspects(split.train, split.train)
    if suspects is not None and use is not None:
        used = suspect_use.apply_suspects(split.train, suspects, use)
    negatives = _read_or_stand_in(cell, "negatives", split, mined.read_sampler_input)
    watch = _Stopwatch()
    try:
        fit_backbone(
            cell.config.model.build(used.graph, seed=0).to(device),
            split,
            sampler=cell.config.sampler,
            # Training never validates: the timing ends before the last of so many epochs.
            config=cell.config.fit.model_copy(update={"epochs": 10**6, "check_every": 10**6}),
            inputs=FitInputs(
                mined=negatives if isinstance(negatives, MinedNegatives) else None,
                neighbours=negatives if isinstance(negatives, ItemNeighbours) else None,
                trees=_read_or_stand_in(cell, "trees", split, _read_trees),
                excluded=used.excluded,
                extra=used.extra,
            ),
            watch=watch,
        )
    except _TimedEnough:
        return watch.seconds_per_step * watch.steps
    raise AssertionError("unreachable: the watch ends the training")


def _time_validation(config: RunConfig, split: Split, device: str) -> float:
    model = config.model.build(split.train, seed=0).to(device)
    started = time.perf_counter()
    with torch.no_grad():
        evaluate_scores(inner_product(model()), split.valid, split.train, metrics=(config.fit.select,))
    return time.perf_counter() - started


class _Stopwatch:
    """A watch of the training loop that times steps, and then ends the training."""

    def __init__(self) -> None:
        self._first = 0.0
        self._counted = -1
        self.steps = 0
        self.seconds_per_step = 0.0

    def __call__(self, epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG002
        """Count a step."""
        now = time.perf_counter()
        self._counted += 1
        if self._counted == 0:
            self._first = now
        elif now - self._first > SECONDS:
            self.steps, self.seconds_per_step = steps, (now - self._first) / self._counted
            raise _TimedEnough


def _read_or_stand_in(cell: CellToTime, section: str, split: Split, read: Callable[[Path, Split], Any]) -> Any:
    """Return an artifact that runs read; where it is not made yet, an object as costly; None where they read none."""
    artifact = cell.shared.get(section)
    if artifact is None:
        return None
    if artifacts.is_artifact(artifact.folder):
        return read(artifact.folder, split)
    return artifact.entry.recipe.stand_in(split, cell.config)


def _read_trees(folder: Path, split: Split) -> Trees:
    return trees_folder.read_trees(folder, split.train.n_items)
