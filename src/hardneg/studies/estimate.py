"""How long runs will take, from really training each cell for a moment on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hardneg import artifacts
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import FitInputs, fit_backbone
from hardneg.judging.suspects import Suspects
from hardneg.pipeline import RUN, RunConfig, SuspectsConfig, suspect_use
from hardneg.random import generator
from hardneg.sampling import ItemNeighbours, MinedNegatives, SemanticMixing, sampler_inputs
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.stages import Stages
from hardneg.trees import PathCodes, Trees, trees_folder

SECONDS = 1.5
"""How long the steps of one cell are timed, after a first one that is not counted."""
STAND_IN_SIZE = 384
"""Length of the vectors that stand in for negatives not mined yet: that of MiniLM."""
STAND_IN_SUSPECTS = SuspectsConfig().candidates
"""Suspects of every user that stand in for those not judged yet: all candidates, the most that there can be."""
STAND_IN_DEPTH = 6
"""Levels of the path codes that stand in for trees not grown yet, of four children each."""


@dataclass(frozen=True)
class Wanted:
    """Runs to be made of one cell.

    left: how many. finished: folders of runs that stand, whose epochs tell how many the next will take. apart: trained
    before the others, one after another.
    """

    name: str
    split: Path
    negatives: Path | None
    config: RunConfig
    left: int
    finished: Sequence[Path] = ()
    suspects: Path | None = None
    trees: Path | None = None
    apart: bool = False


def wanted_apart(stages: Stages, cells: Sequence[Cell]) -> list[Wanted]:
    """The runs that are still to be trained apart, for the trees, suspects or labels that these cells need."""
    return [
        Wanted(f"{cell.name}, trained apart", stages.grid.splits[cell.split].folder, None, cell.config, 1, apart=True)
        for cell in stages.to_train_apart(cells)
    ]


@dataclass(frozen=True)
class Estimate:
    """One cell's cost. epochs: of a run, the upper bound where `known` is 0, else the mean of so many finished runs."""

    name: str
    left: int
    seconds_per_epoch: float
    epochs: float
    known: int
    apart: bool = False

    @property
    def hours(self) -> float:
        """Of all runs that are left, one after another."""
        return self.left * self.epochs * self.seconds_per_epoch / 3600

    @property
    def assumed(self) -> str:
        """What is assumed about the epochs."""
        if self.known:
            return f"{self.epochs:.0f}, mean of {self.known} finished"
        return f"{self.epochs:.0f}, the upper bound"


class _Enough(Exception):  # noqa: N818 - no error: the timing has seen enough steps
    """Ends a training whose steps were timed."""


def estimates(
    wanted: Sequence[Wanted], *, device: str = "cpu", told: Callable[[str, int, int], None] | None = None
) -> list[Estimate]:
    """Time every cell that has runs left; nothing of it is kept. Cells that differ only in learning rate, L2, seed
    or stopping share a timing. Validation is timed once and counted as often as it is looked at."""
    left = [cell for cell in wanted if cell.left]
    timings = _Timings(device)
    found = []
    for number, cell in enumerate(left, start=1):
        found.append(_estimate(cell, timings))
        if told is not None:
            told("timing", number, len(left))
    return found


def _estimate(cell: Wanted, timings: _Timings) -> Estimate:
    epochs = [artifacts.read_manifest(folder, RUN)["notes"]["epochs"] for folder in cell.finished]
    epoch, look = timings.of(cell)
    assumed = float(np.mean(epochs)) if epochs else float(cell.config.fit.epochs)
    return Estimate(cell.name, cell.left, epoch + look / cell.config.fit.check_every, assumed, len(epochs), cell.apart)


class _Timings:
    """Timings made so far, and the split last read."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._made: dict[str, tuple[float, float]] = {}
        self._looks: dict[tuple[Path, str], float] = {}
        self._split: tuple[Path | None, Split | None] = (None, None)

    def of(self, cell: Wanted) -> tuple[float, float]:
        """Seconds of an epoch, and of a look at validation."""
        fit = cell.config.fit.model_dump(include={"batch_size"})
        parts = cell.config.model, cell.config.sampler, cell.config.suspects
        key = str((cell.split, cell.negatives, cell.suspects, cell.trees, *parts, fit))
        if key not in self._made:
            data = self._read(cell.split)
            self._made[key] = self._epoch(cell, data), self._look(cell, data)
        return self._made[key]

    def _read(self, folder: Path) -> Split:
        if self._split[0] != folder or self._split[1] is None:
            self._split = folder, splits.read_split(folder)
        data = self._split[1]
        assert data is not None
        return data

    def _epoch(self, cell: Wanted, data: Split) -> float:
        used = _used(cell, data)
        model = cell.config.model.build(used.graph, seed=0).to(self._device)
        watch = _Stopwatch()
        # Never a look at validation: the timing ends before the last of so many epochs.
        fit = cell.config.fit.model_copy(update={"epochs": 10**6, "check_every": 10**6})
        try:
            mined, neighbours = _given(cell, data)
            fit_backbone(
                model,
                data,
                sampler=cell.config.sampler,
                config=fit,
                inputs=FitInputs(mined, neighbours, _trees(cell, data), used.excluded, used.extra),
                watch=watch,
            )
        except _Enough:
            return watch.seconds_per_step * watch.steps
        raise AssertionError("unreachable: the watch ends the training")

    def _look(self, cell: Wanted, data: Split) -> float:
        place = cell.split, str(cell.config.model)
        if place not in self._looks:
            model = cell.config.model.build(data.train, seed=0).to(self._device)
            started = time.perf_counter()
            with torch.no_grad():
                evaluate_scores(inner_product(model()), data.valid, data.train, metrics=(cell.config.fit.select,))
            self._looks[place] = time.perf_counter() - started
        return self._looks[place]


class _Stopwatch:
    """A watch of the training loop that times steps and then ends it."""

    def __init__(self) -> None:
        self._first = 0.0
        self._counted = -1
        self.steps = 0
        self.seconds_per_step = 0.0

    def __call__(self, epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG002
        """After every step."""
        now = time.perf_counter()
        self._counted += 1
        if self._counted == 0:
            self._first = now
        elif now - self._first > SECONDS:
            self.steps, self.seconds_per_step = steps, (now - self._first) / self._counted
            raise _Enough


def _given(cell: Wanted, data: Split) -> tuple[MinedNegatives | None, ItemNeighbours | None]:
    """The negatives or neighbours; where they are not made yet, some of the usual size that cost as much."""
    if cell.negatives is None:
        return None, None
    if artifacts.is_artifact(cell.negatives):
        found = sampler_inputs.read_sampler_input(cell.negatives, data)
        return (found, None) if isinstance(found, MinedNegatives) else (None, found)
    if isinstance(sampler := cell.config.sampler, SemanticMixing):
        shape = data.train.n_items, sampler.neighbours
        return None, ItemNeighbours(generator(0, "stand-in").integers(shape[0], size=shape), "stand-in")
    vectors = np.broadcast_to(np.float16(1.0), (len(data.train), STAND_IN_SIZE))
    return MinedNegatives(np.full((len(data.train), 1), -1), vectors, "stand-in"), None


def _used(cell: Wanted, data: Split) -> suspect_use.UsedSuspects:
    """What the run takes from its suspects; where these are not judged yet, from as many drawn at random."""
    config, folder = cell.config.suspects, cell.suspects
    if config is None or folder is None or artifacts.is_artifact(folder):
        return suspect_use.use_suspects(data, config, folder)
    train = data.train
    users = np.repeat(np.flatnonzero(train.counts), STAND_IN_SUSPECTS)
    items = generator(0, "stand-in").integers(train.n_items, size=len(users))
    free = ~train.contains(users, items)
    _, firsts = np.unique(users[free] * train.n_items + items[free], return_index=True)
    judged = Suspects(users[free][firsts], items[free][firsts], np.ones(len(firsts)), "stand-in")
    return suspect_use.apply_suspects(train, judged, config)


def _trees(cell: Wanted, data: Split) -> Trees | None:
    """The trees; where they are not grown yet, some that cost as much to look at."""
    if cell.trees is None:
        return None
    if artifacts.is_artifact(cell.trees):
        return trees_folder.read_trees(cell.trees, data.train.n_items)
    shape = data.train.n_items, STAND_IN_DEPTH
    codes = [PathCodes(generator(0, f"stand-in {n}").integers(4, size=shape, dtype=np.int16)) for n in range(2)]
    return Trees(codes[0], codes[1], "stand-in")
