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
from torch import nn

from hardneg import artifacts
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import FitInputs, fit_backbone
from hardneg.judging.suspects import read_suspects
from hardneg.models import build_model
from hardneg.pipeline import RUN, RunConfig, suspect_use
from hardneg.pipeline.text import ModelTexts, read_model_texts
from hardneg.sampling import ItemNeighbours, MinedNegatives, mined
from hardneg.studies.cells import Cell
from hardneg.studies.plan import Artifact, Plan
from hardneg.studies.recipes import ReplyEstimate
from hardneg.trees import trees_folder
from hardneg.types import Progress

SECONDS = 1.5
"""Time for which the steps of one cell are measured, after a first step that is not counted."""


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
    """Time of what a study or a search has left. total: number of runs or trials. finished: of these.

    replies: title of an artifact that is not made yet -> language model replies that it needs.
    """

    cells: list[CellEstimate]
    total: int
    finished: int
    replies: Mapping[str, ReplyEstimate] = field(default_factory=dict)


class _TimedEnough(Exception):  # noqa: N818 - no error
    """Ends a training of which enough steps were timed; its argument is the seconds of an epoch."""


def estimate_cells(
    plan: Plan, runs: Sequence[tuple[Cell, int, Sequence[Path]]], progress: Progress | None = None
) -> list[CellEstimate]:
    """Time every cell that has runs left, after the auxiliary runs for them; nothing of the training is kept.

    Artifacts whose time is estimated come first; each counts as one run of one epoch.
    runs: cell, number of its runs left, folders of its finished runs, whose epochs predict those of the others. Cells that
    differ only in learning rate, L2, seed or stopping share a timing. One validation is timed, and counted as often as runs
    validate. Baselines are not timed: they are not trained by steps.
    """
    runs = [run for run in runs if run[0].config.baseline is None]
    auxiliary = plan.auxiliary_cells([cell for cell, _, _ in runs])
    to_time: list[tuple[str, Cell, int, Sequence[Path], bool]]
    to_time = [(f"{cell.name}, auxiliary run", cell, 1, (), True) for cell in auxiliary]
    to_time += [(cell.name, cell, left, finished, False) for cell, left, finished in runs if left]
    read_split = lru_cache(maxsize=1)(splits.read_split)
    timings: dict[str, tuple[float, float]] = {}
    estimates = _estimate_artifacts(plan, [cell for cell, left, _ in runs if left], read_split)
    for number, (name, cell, left, finished, sequential) in enumerate(to_time, start=1):
        config, split_dir = cell.config, plan.readable_split_dir(cell.split)
        shared = plan.artifacts_of(cell)
        folders = sorted(artifact.folder for artifact in shared.values())
        key = str(
            (
                split_dir,
                folders,
                config.model,
                config.sampler,
                config.suspects,
                config.fit.batch_size,
                config.fit.max_steps,
            )
        )
        if key not in timings:
            split = read_split(split_dir)
            timings[key] = _time_run(config, shared, split, plan.device)
        epoch_seconds, validation_seconds = timings[key]
        seconds = epoch_seconds + validation_seconds / config.fit.check_every
        epochs = [artifacts.read_manifest(folder, RUN)["notes"]["epochs"] for folder in finished]
        mean_epochs = float(np.mean(epochs)) if epochs else float(config.fit.epochs)
        estimates.append(CellEstimate(name, left, seconds, mean_epochs, len(epochs), sequential))
        if progress is not None:
            progress("timing", number, len(to_time))
    return estimates


def _estimate_artifacts(plan: Plan, cells: list[Cell], read_split: Callable[[Path], Split]) -> list[CellEstimate]:
    """Return a line for every artifact that is not made yet and whose seconds can be estimated, as one epoch."""
    estimates = []
    for artifact in plan.needed(cells):
        if artifacts.is_artifact(artifact.folder):
            continue
        split = read_split(plan.readable_split_dir(artifact.split))
        if (seconds := artifact.entry.recipe.estimate_seconds(split, plan.device)) is not None:
            name = f"{artifact.split} / {artifact.entry.title}"
            estimates.append(CellEstimate(name, 1, seconds, 1.0, 0, sequential=True))
    return estimates


def _read(
    config: RunConfig,
    shared: Mapping[str, Artifact],
    split: Split,
    section: str,
    reader: Callable[[Path, Split], Any],
) -> Any:
    """Read an artifact of a run, or return a stand-in of one that is not made yet; None where the run reads none."""
    artifact = shared.get(section)
    if artifact is None or not artifacts.is_artifact(artifact.folder):
        return None if artifact is None else artifact.entry.recipe.stand_in(split, config)
    return reader(artifact.folder, split)


def _build(
    config: RunConfig, shared: Mapping[str, Artifact], split: Split, graph: Interactions, device: str
) -> nn.Module:
    texts = _read(config, shared, split, "vectors", lambda folder, split: read_model_texts(config.model, folder, split))
    vectors = texts.vectors if isinstance(texts, ModelTexts) else texts
    return build_model(config.model, graph, vectors, seed=0).to(device)


def time_epoch(config: RunConfig, shared: Mapping[str, Artifact], split: Split, device: str) -> float:
    """Return the seconds of an epoch, from training for a moment.

    shared: section -> artifact that the run reads; an object as costly stands in for one that is not made yet.
    """

    def read(section: str, reader: Callable[[Path, Split], Any]) -> Any:
        return _read(config, shared, split, section, reader)

    suspects, use = read("suspects", read_suspects), config.suspects
    used = suspect_use.UsedSuspects(split.train, split.train)
    if suspects is not None and use is not None:
        used = suspect_use.apply_suspects(split.train, suspects, use)
    negatives = read("negatives", mined.read_sampler_input)
    times: list[float] = []

    def watch(epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG001
        times.append(time.perf_counter())
        elapsed, counted = times[-1] - times[0], len(times) - 1
        if counted and elapsed > SECONDS:
            raise _TimedEnough(elapsed / counted * steps)

    try:
        fit_backbone(
            _build(config, shared, split, used.graph, device),
            split,
            sampler=config.sampler,
            # Training never validates: the timing ends before the last of so many epochs.
            config=config.fit.model_copy(update={"epochs": 10**6, "check_every": 10**6}),
            inputs=FitInputs(
                mined=negatives if isinstance(negatives, MinedNegatives) else None,
                neighbours=negatives if isinstance(negatives, ItemNeighbours) else None,
                trees=read("trees", lambda folder, split: trees_folder.read_trees(folder, split.train.n_items)),
                excluded=used.excluded,
                extra=used.extra,
                penalty=used.penalty,
                weights=used.weights,
            ),
            watch=watch,
        )
    except _TimedEnough as enough:
        return float(enough.args[0])
    raise AssertionError("unreachable: the watch ends the training")


def _time_run(config: RunConfig, shared: Mapping[str, Artifact], split: Split, device: str) -> tuple[float, float]:
    """Return the seconds of an epoch and of a validation."""
    epoch, model = time_epoch(config, shared, split, device), _build(config, shared, split, split.train, device)
    started = time.perf_counter()
    with torch.no_grad():
        evaluate_scores(inner_product(model()), split.valid, split.train, metrics=(config.fit.select,))
    return epoch, time.perf_counter() - started
