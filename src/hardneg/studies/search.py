"""A search for settings: as many trials for every split x model x row, judged on validation pairs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from hardneg import pipeline
from hardneg.config import write_yaml
from hardneg.errors import ConfigError, HardnegError
from hardneg.studies import process_pool
from hardneg.studies.experiment_cells import Cell, has
from hardneg.studies.load import read_search
from hardneg.studies.runs import slug
from hardneg.studies.search_sampler import require_optuna
from hardneg.studies.spec import SearchSpec, applied
from hardneg.studies.stages import Stages
from hardneg.studies.trials import SCHEMA, TRIALS, CellSearch, Trial, replace_parquet
from hardneg.studies.tuned_settings import Best, Found, write_best
from hardneg.types import Progress


@dataclass(frozen=True)
class Search:
    """A search as it was read and laid out."""

    spec: SearchSpec
    cells: list[Cell]
    out: Path
    device: str = "cpu"
    only: tuple[str, ...] = ()
    """Splits that are searched now; empty for all."""

    @classmethod
    def read(cls, path: Path, out: Path | None = None, *, only: Sequence[str] = (), device: str = "cpu") -> Search:
        """Read and check a file; out: the search folder, out/NAME if not given; only: some splits of it."""
        require_optuna()
        spec, cells = read_search(path, only)
        return cls(spec, cells, out or Path("out") / spec.name, device, tuple(only))

    @cached_property
    def stages(self) -> Stages:
        """The shared folders."""
        return Stages(self.spec, self.cells, self.out, self.device)

    def tasks(self) -> list[CellSearch]:
        """One task a cell, of all splits: what the search folder tells of."""
        return [self._task(cell) for cell in self.cells]

    def tasks_now(self) -> list[CellSearch]:
        """Those that `run` works on."""
        return [task for task in self.tasks() if not self.only or task.cell.split in self.only]

    def _task(self, cell: Cell) -> CellSearch:
        space = applied(self.spec.space, self.spec.rows[cell.row])
        fit = cell.config.fit.model_copy(update={"seed": self.spec.seed})
        return CellSearch(
            replace(cell, config=cell.config.model_copy(update={"fit": fit})),
            self.spec.splits[cell.split].folder,
            self.stages.negatives(cell.split, cell.negatives),
            {field: entry for field, entry in sorted(space.items()) if has(cell.config, field)},
            self.spec.trials,
            self.spec.seed,
            self.out / "trials" / slug(cell.split) / slug(cell.model) / slug(cell.row),
            self.device,
            self.stages.suspects(cell.split, cell.suspects),
            self.stages.trees(cell.split, cell.trees),
            self.spec.first_trials == "alike",
        )

    def run(
        self, workers: int = 1, *, ended: process_pool.Ended | None = None, progress: Progress | None = None
    ) -> list[process_pool.Outcome]:
        """Make what is shared, then search every cell; cells run side by side, the trials of one in their order."""
        self.out.mkdir(parents=True, exist_ok=True)
        write_yaml(self.out / "search.yaml", self.spec, only_given=True)
        tasks = self.tasks_now()
        self.stages.make([task.cell for task in tasks], progress)
        blocked = [
            process_pool.Outcome(task.name, reason)
            for task in tasks
            if (reason := self.stages.reason(task.cell)) is not None
        ]
        stuck = {outcome.name for outcome in blocked}
        free = [task for task in tasks if task.name not in stuck]
        return blocked + process_pool.run(free, workers, ended=ended, progress=progress)

    def write(self) -> Written:
        """Write best.yaml, of the cells whose trials have all ended, and trials.parquet, of all trials.

        Trials of another search, as the file was once or with other negatives, are left out of both, and named.
        """
        trials, left_out = dict[str, list[Trial]](), dict[str, str]()
        tasks = self.tasks()
        for task in tasks:
            try:
                trials[task.name] = self._of(task)
            except (HardnegError, OSError) as error:
                trials[task.name], left_out[task.name] = [], " ".join(str(error).split())
        frame = pl.concat([_with_place(task, trials[task.name]) for task in tasks])
        replace_parquet(self.out / TRIALS, frame)
        best = Best(search=self.spec.name, seed=self.spec.seed, best=_nested(tasks, trials))
        write_best(self.out, best)
        return Written(best, frame, left_out)

    def _of(self, task: CellSearch) -> list[Trial]:
        """The trials of a cell that are this search's. ConfigError where there are others, or what they need is not there."""
        reason = self.stages.reason(task.cell)
        if task.ended() and reason is not None:
            raise ConfigError(f"the trials that stand are left out, since {reason}")
        return task.replayed()


@dataclass(frozen=True)
class Written:
    """What a search wrote. left_out: cell -> why the trials that stand are not among it."""

    best: Best
    trials: pl.DataFrame
    left_out: dict[str, str]


def _with_place(task: CellSearch, trials: Sequence[Trial]) -> pl.DataFrame:
    cell = task.cell
    frame = pl.DataFrame([asdict(trial) for trial in trials], schema=SCHEMA)
    place = [
        pl.lit(name).alias(column)
        for column, name in zip(("split", "model", "row"), (cell.split, cell.model, cell.row), strict=True)
    ]
    return frame.select(*place, pl.all())


def _nested(
    tasks: Sequence[CellSearch], trials: Mapping[str, Sequence[Trial]]
) -> dict[str, dict[str, dict[str, Found]]]:
    nested: dict[str, dict[str, dict[str, Found]]] = {}
    for task in tasks:
        found = _found(task, trials[task.name])
        if found is not None:
            cell = task.cell
            nested.setdefault(cell.split, {}).setdefault(cell.model, {})[cell.row] = found
    return nested


def _found(task: CellSearch, trials: Sequence[Trial]) -> Found | None:
    """The best trial, of equals the first; None where trials are missing or all failed."""
    valued = [(trial.value, trial) for trial in trials if trial.value is not None]
    if len(trials) < task.budget or not valued:
        return None
    value, best = max(valued, key=lambda one: one[0])
    made_from = pipeline.run_inputs(task.split)
    return Found(
        settings=best.chosen,
        metric=best.metric,
        value=value,
        default_value=trials[0].value,
        trial=best.trial,
        trials=task.trials,
        failed=len(trials) - len(valued),
        made_from=made_from,
        made_with={name: found for name, found in task.inputs().items() if name not in made_from},
        space=task.space,
    )
