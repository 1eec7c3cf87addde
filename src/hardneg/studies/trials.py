"""The trials of one cell of a search, one after another.

No test pair is read here. Trials are ordinary runs. The optuna study is in memory, and is built again from the finished
trials, so that a search killed anywhere continues with the suggestions of an uninterrupted one.
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
from hardneg.studies.cells import Cell, get_setting, with_settings
from hardneg.studies.results import best_validation_value
from hardneg.studies.runs import by_epoch
from hardneg.studies.search_sampler import RANDOM_TRIALS, TriedSettings, spread, suggest
from hardneg.studies.spec import Scalar, Space
from hardneg.studies.tuned_settings import BestTrial
from hardneg.training import Watch
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
    """A finished trial. settings: as JSON. value: None where it failed, for the reason given. key: of its run."""

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
        settings: dict[str, Scalar] = json.loads(self.settings)
        return settings


@dataclass(frozen=True)
class CellSearch:
    """Trials of one cell, one after another; a task for a worker.

    folders: section -> folder that its runs read. alike: first trials take the same values in all rows.
    """

    cell: Cell
    split_dir: Path
    folders: Mapping[str, Path]
    space: Space
    trials: int
    seed: int
    folder: Path
    device: str = "cpu"
    alike: bool = True

    @property
    def name(self) -> str:
        """Name for people."""
        return self.cell.name

    @property
    def budget(self) -> int:
        """Number of trials that can differ: one where there is nothing to search."""
        return self.trials if self.space else 1

    def finished(self) -> list[Trial]:
        """Read the finished trials, at most as many as the budget."""
        path = self.folder / TRIALS
        if not path.is_file():
            return []
        return [Trial(**row) for row in read_parquet(path).head(self.budget).iter_rows(named=True)]

    def run(self, progress: Progress) -> None:
        """Run the trials that are left; finished ones are checked against their replay."""
        trials = self.replayed()
        for number in range(len(trials), self.budget):
            trials.append(self._run_trial(number, self.settings_of(number, trials), progress))
            self._write(trials)
        if all(trial.value is None for trial in trials):
            raise DataError(f"all {len(trials)} trials failed, the first because {trials[0].reason}")

    def replayed(self) -> list[Trial]:
        """Return the finished trials. Raises ConfigError unless each is the one that this search would make."""
        trials = list[Trial]()
        for trial in self.finished():
            settings = self.settings_of(trial.trial, trials)
            if (trial.chosen, trial.key) != (settings, self._stage(settings).key()):
                raise ConfigError(
                    f"{self.folder / TRIALS} holds another search (trial {trial.trial} differs in settings, space, seed, "
                    "first_trials, inputs or versions); choose another --out or remove the folder first"
                )
            trials.append(trial)
        return trials

    def settings_of(self, number: int, earlier: Sequence[Trial]) -> dict[str, Scalar]:
        """Return the settings of a trial, from the seed and the earlier trials alone; the first are those given."""
        defaults = {field: get_setting(self.cell.config, field) for field in sorted(self.space)}
        if number == 0:
            return defaults
        if self.alike and number < RANDOM_TRIALS:
            return spread(self.space, defaults, number, seed=self.seed)
        tried = [TriedSettings(trial.chosen, trial.value) for trial in earlier]
        return suggest(self.space, defaults, tried, seed=self.seed, purpose=f"search {self.cell.name}")

    def best(self, trials: Sequence[Trial]) -> BestTrial | None:
        """Return the best trial, the first of equals; None where trials are missing or all failed."""
        values = [(trial.value, trial) for trial in trials if trial.value is not None]
        if len(trials) < self.budget or not values:
            return None
        value, best = max(values, key=lambda pair: pair[0])
        split_inputs, inputs = pipeline.run_inputs(self.split_dir), self._stage({}).inputs
        return BestTrial(
            settings=best.chosen,
            metric=best.metric,
            value=value,
            default_value=trials[0].value,
            trial=best.trial,
            trials=self.trials,
            failed=len(trials) - len(values),
            made_from=split_inputs,
            made_with={name: digest for name, digest in inputs.items() if name not in split_inputs},
            space=self.space,
        )

    def _stage(self, settings: Mapping[str, Scalar], watch: Watch | None = None) -> Stage:
        config = with_settings(self.cell.config, settings)
        return pipeline.train_stage(self.split_dir, config, **self.folders, device=self.device, watch=watch)

    def _run_trial(self, number: int, settings: Mapping[str, Scalar], progress: Progress) -> Trial:
        """Train one trial; one that diverges has no value."""
        folder, fit = self.folder / f"trial-{number:03}", with_settings(self.cell.config, settings).fit

        def report(name: str, epoch: int, epochs: int) -> None:
            progress(name, number * epochs + epoch, self.budget * epochs)

        stage, text = self._stage(settings, by_epoch(self.name, fit.epochs, report)), json.dumps(dict(settings))
        try:
            stage.run(folder)
        except TrainingDivergedError as error:
            return Trial(number, text, fit.select, None, None, None, str(error), stage.key(), None)
        notes = artifacts.read_manifest(folder, pipeline.RUN)["notes"]
        seconds = json.loads((folder / "costs.json").read_text(encoding="utf-8"))["seconds"]
        value, epochs = best_validation_value(folder, fit.select), (notes["epochs"], notes["best epoch"])
        return Trial(number, text, fit.select, value, *epochs, None, stage.key(), seconds)

    def _write(self, trials: Sequence[Trial]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_parquet(self.folder / TRIALS, pl.DataFrame([asdict(trial) for trial in trials], schema=SCHEMA))


def replace_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame beside and rename, so that no reader sees half of it."""
    content = BytesIO()
    frame.write_parquet(content)
    artifacts.replace_file(path, content.getvalue())
