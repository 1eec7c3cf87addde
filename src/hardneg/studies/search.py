"""A search for settings: the same number of trials for every split x model x row, scored on validation pairs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.config import write_yaml
from hardneg.errors import ConfigError, HardnegError
from hardneg.studies.cells import Cell, has_setting
from hardneg.studies.estimate import CellToTime, Estimate, auxiliary_cells_to_time, estimate_cells
from hardneg.studies.load import read_search
from hardneg.studies.naming import slug
from hardneg.studies.plan import Plan
from hardneg.studies.process_pool import Ended, Outcome, run_pool
from hardneg.studies.search_sampler import require_optuna
from hardneg.studies.spec import SearchSpec
from hardneg.studies.trials import SCHEMA, TRIALS, CellSearch, Trial, replace_parquet
from hardneg.studies.tuned_settings import BestTrial, TunedSettings, write_tuned_settings
from hardneg.types import Progress


@dataclass(frozen=True)
class SearchResults:
    """The best settings and all trials of a search. left_out: cell -> why its finished trials are not included."""

    best: TunedSettings
    trials: pl.DataFrame
    left_out: dict[str, str]


class Search:
    """A checked search file with its folder. only: splits to search now; empty for all."""

    def __init__(
        self, spec: SearchSpec, cells: list[Cell], out: Path, device: str = "cpu", only: Sequence[str] = ()
    ) -> None:
        self.spec, self.cells, self.out, self.device, self.only = spec, cells, out, device, tuple(only)

    @classmethod
    def load(
        cls,
        source: str | Path | Mapping[str, Any],
        out: str | Path | None = None,
        *,
        only: Sequence[str] = (),
        device: str = "cpu",
    ) -> Search:
        """Read and check a search, from a YAML file or from its contents as a mapping.

        out: the search folder, out/NAME by default. only: some splits of the file.
        Raises ConfigError with every problem of the file, or where optuna is missing.
        """
        require_optuna()
        spec, cells = read_search(Path(source) if isinstance(source, str) else source, only)
        return cls(spec, cells, Path(out or Path("out") / spec.name), device, only)

    @cached_property
    def plan(self) -> Plan:
        """The artifacts that trials share."""
        return Plan(self.spec, self.cells, self.out, self.device)

    def tasks(self) -> list[CellSearch]:
        """Return a task for every cell, of all splits."""
        return [self._task(cell) for cell in self.cells]

    def tasks_now(self) -> list[CellSearch]:
        """Return the tasks of `run`."""
        return [task for task in self.tasks() if not self.only or task.cell.split in self.only]

    def _task(self, cell: Cell) -> CellSearch:
        fit = cell.config.fit.model_copy(update={"seed": self.spec.seed})
        space = self.spec.space_of(self.spec.rows[cell.row])
        return CellSearch(
            replace(cell, config=cell.config.model_copy(update={"fit": fit})),
            self.spec.splits[cell.split].folder,
            {section: artifact.folder for section, artifact in self.plan.artifacts_of(cell).items()},
            {field: entry for field, entry in sorted(space.items()) if has_setting(cell.config, field)},
            self.spec.trials,
            self.spec.seed,
            self.out / "trials" / slug(cell.split) / slug(cell.model) / slug(cell.row),
            self.device,
            self.spec.first_trials == "alike",
        )

    def run(self, workers: int = 1, *, ended: Ended | None = None, progress: Progress | None = None) -> list[Outcome]:
        """Make the shared artifacts, then search every cell; cells run side by side, the trials of one in order."""
        self.out.mkdir(parents=True, exist_ok=True)
        write_yaml(self.out / "search.yaml", self.spec, only_given=True)
        tasks = self.tasks_now()
        self.plan.build([task.cell for task in tasks], progress)
        problems = {task.name: self.plan.problem_of(task.cell) for task in tasks}
        blocked = [Outcome(name, problem) for name, problem in problems.items() if problem is not None]
        free = [task for task in tasks if problems[task.name] is None]
        return blocked + run_pool(free, workers, ended=ended, progress=progress)

    def results(self) -> SearchResults:
        """Write best.yaml, for cells whose trials are all finished, and trials.parquet, with all trials, and return both.

        Trials of another search (an earlier file, or other negatives) are left out of both, and named.
        """
        trials, left_out = dict[str, list[Trial]](), dict[str, str]()
        tasks = self.tasks()
        for task in tasks:
            try:
                trials[task.name] = self._own_trials(task)
            except (HardnegError, OSError) as error:
                trials[task.name], left_out[task.name] = [], " ".join(str(error).split())
        frame = pl.concat([_frame(task, trials[task.name]) for task in tasks])
        replace_parquet(self.out / TRIALS, frame)
        best: dict[str, dict[str, dict[str, BestTrial]]] = {}
        for task in tasks:
            if (trial := task.best(trials[task.name])) is not None:
                best.setdefault(task.cell.split, {}).setdefault(task.cell.model, {})[task.cell.row] = trial
        tuned = TunedSettings(search=self.spec.name, seed=self.spec.seed, best=best)
        write_tuned_settings(self.out, tuned)
        return SearchResults(tuned, frame, left_out)

    def _own_trials(self, task: CellSearch) -> list[Trial]:
        """Return the trials of a cell. Raises ConfigError for those of another search, or without their inputs."""
        problem = self.plan.problem_of(task.cell)
        if task.finished() and problem is not None:
            raise ConfigError(f"finished trials are left out, because {problem}")
        return task.replayed()

    def estimate(self, progress: Progress | None = None) -> Estimate:
        """Estimate the time of all trials that are left, by training each cell for a moment."""
        tasks = self.tasks_now()
        cells = auxiliary_cells_to_time(self.plan, [task.cell for task in tasks])
        for task in tasks:
            trials = task.finished()
            folders = [task.folder / f"trial-{trial.trial:03}" for trial in trials if trial.value is not None]
            runs = tuple(folder for folder in folders if folder.is_dir())  # trials may be there without their runs
            shared, left = self.plan.artifacts_of(task.cell), task.budget - len(trials)
            cells.append(CellToTime(task.name, task.split_dir, task.cell.config, left, shared, runs))
        estimates = estimate_cells(cells, device=self.device, progress=progress)
        return Estimate(estimates, sum(task.budget for task in tasks), sum(len(task.finished()) for task in tasks))


def _frame(task: CellSearch, trials: Sequence[Trial]) -> pl.DataFrame:
    """Return the trials of a cell, with its split, model and row."""
    places = {"split": task.cell.split, "model": task.cell.model, "row": task.cell.row}
    frame = pl.DataFrame([asdict(trial) for trial in trials], schema=SCHEMA)
    return frame.select(*(pl.lit(name).alias(column) for column, name in places.items()), pl.all())
