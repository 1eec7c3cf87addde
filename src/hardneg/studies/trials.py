"""The trials of one cell of a search, one after another.

Nothing here uses a test pair. Trials are runs like any other; the optuna study lives in memory and is built again from
the trials that ended, so that a search killed anywhere goes on with the suggestions that the unbroken one makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from hardneg import artifacts, pipeline
from hardneg.data.dataset import read_parquet
from hardneg.errors import ConfigError, DataError, TrainingDivergedError
from hardneg.stage import Stage
from hardneg.studies.experiment_cells import Cell, changed, setting
from hardneg.studies.results import best_on_validation
from hardneg.studies.runs import by_epoch
from hardneg.studies.search_sampler import RANDOM_TRIALS, Tried, spread, suggest
from hardneg.studies.spec import Scalar, Space
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
    alike: bool = True

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
        trials = self.replayed()
        for number in range(len(trials), self.budget):
            settings = self.settings_of(number, trials)
            config = changed(self.cell.config, settings)
            trials.append(self._try(number, settings, config, self._stage(config).key(), progress))
            self._write(trials)
        if all(trial.value is None for trial in trials):
            raise DataError(f"all {len(trials)} trials failed, the first because {trials[0].reason}")

    def inputs(self) -> dict[str, str]:
        """Hashes of what its trials are made from."""
        return pipeline.run_inputs(self.split, negatives=self.negatives, suspects=self.suspects, trees=self.trees)

    def _stage(self, config: pipeline.RunConfig) -> Stage:
        return pipeline.train_stage(
            self.split, config, negatives=self.negatives, suspects=self.suspects, trees=self.trees, device=self.device
        )

    def replayed(self) -> list[Trial]:
        """The trials that ended, once it is sure that each is the one that this search would make. Raises ConfigError."""
        before, trials = self.ended(), list[Trial]()
        for number, trial in enumerate(before):
            settings = self.settings_of(number, trials)
            key = self._stage(changed(self.cell.config, settings)).key()
            trials.append(self._as_replayed(trial, settings, key))
        return trials

    def settings_of(self, number: int, earlier: Sequence[Trial]) -> dict[str, Scalar]:
        """Settings of a trial, from the seed and the earlier trials alone; the first are those given."""
        given = {field: setting(self.cell.config, field) for field in sorted(self.space)}
        if number == 0:
            return given
        if self.alike and number < RANDOM_TRIALS:
            return spread(self.space, given, number, seed=self.seed)
        tried = [Tried(trial.chosen, trial.value) for trial in earlier]
        return suggest(self.space, given, tried, seed=self.seed, purpose=f"search {self.cell.name}")

    def _as_replayed(self, trial: Trial, settings: Mapping[str, Scalar], key: str) -> Trial:
        if (trial.chosen, trial.key) != (settings, key):
            raise ConfigError(
                f"{self.folder / TRIALS} holds another search (trial {trial.trial} differs in settings, space, seed, "
                "first_trials, inputs or versions); choose another --out or remove the folder first"
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
            pipeline.train_stage(
                self.split,
                config,
                negatives=self.negatives,
                suspects=self.suspects,
                trees=self.trees,
                device=self.device,
                watch=by_epoch(self.name, fit.epochs, of_all),
            ).run(folder)
        except TrainingDivergedError as error:
            return Trial(number, said, fit.select, None, None, None, str(error), key, None)
        notes = artifacts.read_manifest(folder, pipeline.RUN)["notes"]
        seconds = json.loads((folder / "costs.json").read_text(encoding="utf-8"))["seconds"]
        value = best_on_validation(folder, fit.select)
        return Trial(number, said, fit.select, value, notes["epochs"], notes["best epoch"], None, key, seconds)

    def _write(self, trials: Sequence[Trial]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_parquet(self.folder / TRIALS, pl.DataFrame([asdict(trial) for trial in trials], schema=SCHEMA))


def replace_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame so that nobody ever sees half of it."""
    held = BytesIO()
    frame.write_parquet(held)
    artifacts.replace_file(path, held.getvalue())
