"""A study: cells x seeds, each run once; a run that fails stops no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardneg import pipeline
from hardneg.config import write_yaml
from hardneg.errors import ConfigError, HardnegError
from hardneg.studies.cells import Cell
from hardneg.studies.estimate import Estimate, estimate_cells
from hardneg.studies.load import read_study
from hardneg.studies.plan import PlannedGrid
from hardneg.studies.process_pool import Ended, Outcome, run_pool
from hardneg.studies.recipes import slug
from hardneg.studies.results import Results, write_results
from hardneg.studies.runs import Row, RunTask
from hardneg.studies.spec import StudySpec
from hardneg.types import Progress


@dataclass(frozen=True)
class PlannedRun:
    """One cell under one seed. finished: trained and scored, from artifacts that the file asks for."""

    cell: Cell
    task: RunTask
    finished: bool


class Study(PlannedGrid[StudySpec]):
    """A checked study file with its folder. outcomes: ends of the runs of the last `run`."""

    outcomes: Sequence[Outcome] = ()
    read = staticmethod(read_study)

    @property
    def results_dir(self) -> Path:
        """Folder of the tables: the study folder, or a separate one for some of the splits."""
        return self.out / "parts" / "-".join(map(slug, self.only)) if self.only else self.out

    def seeds(self, cell: Cell) -> tuple[int, ...]:
        """Return the seeds of a cell."""
        return self.spec.seeds[: self.spec.rows[cell.row].seeds]

    def task(self, cell: Cell, seed: int) -> RunTask:
        """Return the run of a cell under a seed."""
        split, mask = self.spec.splits[cell.split], self.plan.mask_on(cell.split)
        folders = {section: artifact.folder for section, artifact in self.plan.artifacts_of(cell).items()}
        trained_line = None if cell.source_line is None else cell.trained_line
        return RunTask(
            self.plan.split_dir(cell.split),
            Row(cell.line, cell.config, folders, cell.untrained, cell.source_line, trained_line),
            seed,
            self.out / "runs" / slug(cell.split) / slug(cell.model),
            split.truth,
            tuple(dict.fromkeys([*pipeline.METRICS, *self.spec.metrics])),
            self.device,
            f"{cell.name}, seed {seed}",
            None if mask is None or self.plan.problem(mask) is not None else mask.folder,
        )

    def runs(self) -> list[PlannedRun]:
        """Return every run, seed after seed. Raises ConfigError where run folders hold something else."""
        runs, conflicts = [], []
        for seed in self.spec.seeds:
            for cell in (cell for cell in self.cells if seed in self.seeds(cell)):
                task, finished = self.task(cell, seed), False
                try:
                    finished = task.is_finished() and self.plan.problem_of(cell) is None
                except HardnegError as error:
                    conflicts.append(str(error))
                runs.append(PlannedRun(cell, task, finished))
        if conflicts:
            raise ConfigError(f"{len(conflicts)} run(s) are in the way: {conflicts[0]}")
        return runs

    def run(self, workers: int = 1, *, ended: Ended | None = None, progress: Progress | None = None) -> list[Outcome]:
        """Make the shared artifacts, then every run that is not finished, and return how each of these ended.

        workers: processes; 0 runs everything in this one. ended: called after every run. Killed at any moment, the same
        call continues.
        """
        runs = self.runs()
        self.out.mkdir(parents=True, exist_ok=True)
        write_yaml(self.out / "study.yaml", self.spec, only_given=True)
        self.plan.build(self.cells, progress)
        problems = {run.task.name: self.plan.problem_of(run.cell) for run in runs}
        # Tasks are made again, since some masks may exist only now.
        tasks = [self.task(run.cell, run.task.seed) for run in runs if problems[run.task.name] is None]
        finished = {run.task.name for run in runs if run.finished}
        tasks = [task for task in tasks if not (task.name in finished and task.is_scored())]
        blocked = [Outcome(name, problem) for name, problem in problems.items() if problem is not None]
        outcomes, total = list[Outcome](), len(blocked) + len(tasks)

        def report(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if ended is not None:
                ended(len(outcomes), total, outcome)

        for outcome in blocked:
            report(outcome)
        for order in (0, 1, 2):  # runs that are fused or reranked must be made before
            part = [task for task in tasks if task.order == order]
            run_pool(part, workers, ended=lambda _done, _total, outcome: report(outcome), progress=progress)
        self.outcomes = outcomes
        return outcomes

    def results(self) -> Results:
        """Read the finished runs, write tables, and return them."""
        return write_results(self)

    def estimate(self, progress: Progress | None = None) -> Estimate:
        """Estimate the time of all runs that are left, by training each cell for a moment."""
        runs = self.runs()
        left = []
        for cell in (cell for cell in self.cells if cell.trains):  # fusion and reranking take seconds
            own = [run for run in runs if run.cell is cell]
            finished = [run.task.folder for run in own if run.finished]
            left.append((cell, len(own) - len(finished), finished))
        replies = self.plan.estimate_replies(self.cells, progress)
        timed = estimate_cells(self.plan, left, progress)
        return Estimate(timed, len(runs), sum(run.finished for run in runs), replies)
