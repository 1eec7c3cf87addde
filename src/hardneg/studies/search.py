"""A search for settings: the same number of trials for every split x model x row, scored on validation pairs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from hardneg.config import write_yaml
from hardneg.errors import ConfigError, HardnegError
from hardneg.studies.cells import Cell, has_setting
from hardneg.studies.estimate import Estimate, estimate_cells
from hardneg.studies.load import AnySource, read_search
from hardneg.studies.plan import PlannedGrid
from hardneg.studies.process_pool import Ended, Outcome, run_pool
from hardneg.studies.recipes import slug
from hardneg.studies.spec import SearchSpec
from hardneg.studies.trials import TRIALS, CellSearch, Trial, replace_parquet, require_optuna, trials_frame
from hardneg.studies.tuned_settings import BestTrial, TunedSettings, write_tuned_settings
from hardneg.types import Progress


@dataclass(frozen=True)
class SearchResults:
    """The best settings and all trials of a search. left_out: cell -> why its finished trials are not included."""

    best: TunedSettings
    trials: pl.DataFrame
    left_out: dict[str, str]


class Search(PlannedGrid[SearchSpec]):
    """A checked search file with its folder."""

    @staticmethod
    def read(source: AnySource, only: Sequence[str] = ()) -> tuple[SearchSpec, list[Cell]]:
        """Read and check a search file; see `load`."""
        require_optuna()
        return read_search(source, only)

    def tasks(self) -> list[CellSearch]:
        """Return a task for every cell, of all splits."""
        tasks = []
        for cell in self.cells:
            fit = cell.config.fit.model_copy(update={"seed": self.spec.seed})
            space = self.spec.space_of(self.spec.rows[cell.row])
            task = CellSearch(
                replace(cell, config=cell.config.model_copy(update={"fit": fit})),
                self.plan.split_dir(cell.split),
                {section: artifact.folder for section, artifact in self.plan.artifacts_of(cell).items()},
                {field: entry for field, entry in sorted(space.items()) if has_setting(cell.config, field)},
                self.spec.trials,
                self.spec.seed,
                self.out / "trials" / slug(cell.split) / slug(cell.model) / slug(cell.row),
                self.device,
                self.spec.first_trials == "alike",
            )
            tasks.append(task)
        return tasks

    def tasks_now(self) -> list[CellSearch]:
        """Return the tasks of `run`."""
        return [task for task in self.tasks() if not self.only or task.cell.split in self.only]

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
                if (problem := self.plan.problem_of(task.cell)) is not None and task.finished():
                    raise ConfigError(f"finished trials are left out, because {problem}")
                trials[task.name] = task.replayed()
            except (HardnegError, OSError) as error:
                trials[task.name], left_out[task.name] = [], " ".join(str(error).split())
        frame = pl.concat(
            trials_frame(trials[task.name]).select(
                pl.lit(task.cell.split).alias("split"),
                pl.lit(task.cell.model).alias("model"),
                pl.lit(task.cell.row).alias("row"),
                pl.all(),
            )
            for task in tasks
        )
        replace_parquet(self.out / TRIALS, frame)
        best: dict[str, dict[str, dict[str, BestTrial]]] = {}
        for task in tasks:
            if (trial := task.best(trials[task.name])) is not None:
                best.setdefault(task.cell.split, {}).setdefault(task.cell.model, {})[task.cell.row] = trial
        tuned = TunedSettings(search=self.spec.name, seed=self.spec.seed, best=best)
        write_tuned_settings(self.out, tuned)
        return SearchResults(tuned, frame, left_out)

    def estimate(self, progress: Progress | None = None) -> Estimate:
        """Estimate the time of all trials that are left, by training each cell for a moment."""
        tasks = self.tasks_now()
        left = []
        for task in tasks:
            trials = task.finished()
            folders = [task.folder / f"trial-{trial.trial:03}" for trial in trials if trial.value is not None]
            runs = [folder for folder in folders if folder.is_dir()]  # trials may be there without their runs
            left.append((task.cell, task.budget - len(trials), runs))
        total, missing = sum(task.budget for task in tasks), sum(n for _, n, _ in left)
        return Estimate(estimate_cells(self.plan, left, progress), total, total - missing)
