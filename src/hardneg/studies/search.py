"""A search for settings: as many trials for every split x model x row, judged on validation pairs alone.

Nothing here uses a test pair. Trials are runs like any other; the optuna study lives in memory and is built again from
the trials that ended, so that a search killed anywhere goes on with the suggestions that the unbroken one makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path

import polars as pl

from hardneg import artifacts, pipeline
from hardneg.config import write_yaml
from hardneg.data.dataset import read_parquet
from hardneg.errors import ConfigError, DataError
from hardneg.studies import pool
from hardneg.studies.best import Best, Found, write_best
from hardneg.studies.cells import Cell, changed, has, setting
from hardneg.studies.reading import read_search
from hardneg.studies.results import best_on_validation
from hardneg.studies.runs import by_epoch, slug
from hardneg.studies.spec import Scalar, SearchSpec, Space, applied
from hardneg.studies.stages import Stages
from hardneg.studies.suggest import Tried, require_optuna, suggest
from hardneg.training.loop import TrainingDivergedError
from hardneg.types import Progress

TRIALS = "trials.parquet"
SCHEMA = {
    "trial": pl.Int64,
    "settings": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "epochs": pl.Int64,
    "best_epoch": pl.Int64,
    "reason": pl.String,
    "key": pl.String,
    "seconds": pl.Float64,
}


@dataclass(frozen=True)
class Trial:
    """One trial that ended. settings: as JSON. value: None where it failed, for the reason given. key: of its run."""

    trial: int
    settings: str
    metric: str
    value: float | None
    epochs: int | None
    best_epoch: int | None
    reason: str | None
    key: str
    seconds: float | None

    @property
    def chosen(self) -> dict[str, Scalar]:
        """The settings."""
        chosen: dict[str, Scalar] = json.loads(self.settings)
        return chosen


@dataclass(frozen=True)
class CellSearch:
    """All trials of one cell, one after another; a task for a worker."""

    cell: Cell
    split: Path
    negatives: Path | None
    space: Space
    trials: int
    seed: int
    folder: Path
    device: str = "cpu"
    suspects: Path | None = None
    trees: Path | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.cell.name

    @property
    def budget(self) -> int:
        """Trials that can differ: one where there is nothing to search."""
        return self.trials if self.space else 1

    def ended(self) -> list[Trial]:
        """The trials that ended so far, at most as many as the budget."""
        path = self.folder / TRIALS
        if not path.is_file():
            return []
        return [Trial(**row) for row in read_parquet(path).head(self.budget).iter_rows(named=True)]

    def do(self, progress: Progress) -> None:
        """Go through the trials; what ended is checked against the replay and not repeated."""
        inputs = pipeline.run_inputs(self.split, self.negatives, self.suspects, self.trees)
        before, trials = self.ended(), list[Trial]()
        for number in range(self.budget):
            settings = self.settings_of(number, trials)
            config = changed(self.cell.config, settings)
            key = pipeline.run_key(config, inputs)
            if number < len(before):
                trials.append(self._as_replayed(before[number], settings, key))
                continue
            trials.append(self._try(number, settings, config, key, progress))
            self._write(trials)
        if all(trial.value is None for trial in trials):
            raise DataError(f"all {len(trials)} trials failed, the first because {trials[0].reason}")

    def settings_of(self, number: int, earlier: Sequence[Trial]) -> dict[str, Scalar]:
        """Settings of a trial, from the seed and the earlier trials alone; the first are those given."""
        given = {field: setting(self.cell.config, field) for field in sorted(self.space)}
        if number == 0:
            return given
        tried = [Tried(trial.chosen, trial.value) for trial in earlier]
        return suggest(self.space, given, tried, seed=self.seed, purpose=f"search {self.cell.name}")

    def _as_replayed(self, trial: Trial, settings: Mapping[str, Scalar], key: str) -> Trial:
        if (trial.chosen, trial.key) != (settings, key):
            raise ConfigError(
                f"{self.folder / TRIALS} holds another search (trial {trial.trial} differs in settings, space, seed, "
                "inputs or versions); choose another --out or remove the folder first"
            )
        return trial

    def _try(
        self, number: int, settings: Mapping[str, Scalar], config: pipeline.RunConfig, key: str, progress: Progress
    ) -> Trial:
        """Train one trial; a divergence is a trial without value."""
        folder, fit = self.folder / f"trial-{number:03}", config.fit
        said = json.dumps(dict(settings))

        def of_all(what: str, epoch: int, epochs: int) -> None:
            progress(what, number * epochs + epoch, self.budget * epochs)

        try:
            pipeline.train(
                self.split,
                folder,
                config,
                negatives=self.negatives,
                suspects=self.suspects,
                trees=self.trees,
                device=self.device,
                watch=by_epoch(self.name, fit.epochs, of_all),
            )
        except TrainingDivergedError as error:
            return Trial(number, said, fit.select, None, None, None, str(error), key, None)
        notes = artifacts.manifest_of(folder, pipeline.RUN)["notes"]
        seconds = json.loads((folder / "costs.json").read_text(encoding="utf-8"))["seconds"]
        value = best_on_validation(folder, fit.select)
        return Trial(number, said, fit.select, value, notes["epochs"], notes["best epoch"], None, key, seconds)

    def _write(self, trials: Sequence[Trial]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self.folder / TRIALS, pl.DataFrame([asdict(trial) for trial in trials], schema=SCHEMA))


@dataclass(frozen=True)
class Search:
    """A search as it was read and laid out."""

    spec: SearchSpec
    cells: list[Cell]
    out: Path
    device: str = "cpu"
    only: tuple[str, ...] = ()
    """Splits that `run` searches; empty for all."""

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
        """One task a cell."""
        return [self._task(cell) for cell in self.cells]

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
        )

    def run(
        self, workers: int = 1, *, ended: pool.Ended | None = None, progress: Progress | None = None
    ) -> list[pool.Outcome]:
        """Make what is shared, then search every cell; cells run side by side, the trials of one in their order."""
        self.out.mkdir(parents=True, exist_ok=True)
        write_yaml(self.out / "search.yaml", self.spec, only_given=True)
        self.stages.make([cell for cell in self.cells if not self.only or cell.split in self.only], progress)
        tasks = [task for task in self.tasks() if not self.only or task.cell.split in self.only]
        blocked = [
            pool.Outcome(task.name, reason) for task in tasks if (reason := self.stages.reason(task.cell)) is not None
        ]
        stuck = {outcome.name for outcome in blocked}
        free = [task for task in tasks if task.name not in stuck]
        return blocked + pool.run(free, workers, ended=ended, progress=progress)

    def write(self) -> tuple[Best, pl.DataFrame]:
        """Write best.yaml, of the cells whose trials have all ended, and trials.parquet, of all trials."""
        tasks = self.tasks()
        frames = [_with_place(task) for task in tasks]
        trials = pl.concat(frames)
        _replace(self.out / TRIALS, trials)
        best = Best(search=self.spec.name, seed=self.spec.seed, best=_nested(tasks))
        write_best(self.out, best)
        return best, trials


def _replace(path: Path, frame: pl.DataFrame) -> None:
    held = BytesIO()
    frame.write_parquet(held)
    artifacts.replace_file(path, held.getvalue())


def _with_place(task: CellSearch) -> pl.DataFrame:
    cell = task.cell
    frame = pl.DataFrame([asdict(trial) for trial in task.ended()], schema=SCHEMA)
    place = [
        pl.lit(name).alias(column)
        for column, name in zip(("split", "model", "row"), (cell.split, cell.model, cell.row), strict=True)
    ]
    return frame.select(*place, pl.all())


def _nested(tasks: Sequence[CellSearch]) -> dict[str, dict[str, dict[str, Found]]]:
    nested: dict[str, dict[str, dict[str, Found]]] = {}
    for task in tasks:
        found = _found(task)
        if found is not None:
            cell = task.cell
            nested.setdefault(cell.split, {}).setdefault(cell.model, {})[cell.row] = found
    return nested


def _found(task: CellSearch) -> Found | None:
    """The best trial, of equals the first; None where trials are missing or all failed."""
    trials = task.ended()
    valued = [(trial.value, trial) for trial in trials if trial.value is not None]
    if len(trials) < task.budget or not valued:
        return None
    value, best = max(valued, key=lambda one: one[0])
    return Found(
        settings=best.chosen,
        metric=best.metric,
        value=value,
        default_value=trials[0].value,
        trial=best.trial,
        trials=task.trials,
        failed=len(trials) - len(valued),
        made_from=pipeline.run_inputs(task.split, None),
        space=task.space,
    )
