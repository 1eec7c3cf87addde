"""The trials of one cell of a search, one after another, and the settings that each tries.

Settings are spread over the ranges at first, and then suggested by optuna's tree-structured Parzen estimator; no other
module imports optuna. No test pair is read here. Trials are ordinary runs. The optuna study is in memory, and is built again from the finished
trials, so that a search killed anywhere continues with the suggestions of an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from hardneg import artifacts, pipeline, storage
from hardneg.data.dataset import read_parquet
from hardneg.errors import ConfigError, DamagedError, DataError, TrainingDivergedError
from hardneg.random import generator
from hardneg.stage import Stage
from hardneg.studies.cells import Cell, get_setting, with_settings
from hardneg.studies.runs import by_epoch, training_summary
from hardneg.studies.spec import Choices, Range, Scalar, Space
from hardneg.studies.tuned_settings import BestTrial
from hardneg.training import Watch
from hardneg.types import Progress

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Tried = tuple[Mapping[str, Scalar], float | None]
"""Settings that were tried, and their value; None where they failed."""
RANDOM_TRIALS = 5
"""Trials, the first included, before suggestions follow results; independent of the budget, which may be raised later."""
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
        return [Trial(**row) for row in read_trials(path).head(self.budget).iter_rows(named=True)]

    def run(self, progress: Progress) -> None:
        """Run the trials that are left; finished ones are checked against their replay."""
        trials = self.replayed()
        for number in range(len(trials), self.budget):
            trials.append(self._run_trial(number, self.settings_of(number, trials), progress))
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_parquet(self.folder / TRIALS, trials_frame(trials))
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
        tried = [(trial.chosen, trial.value) for trial in earlier]
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
        return pipeline.stage_of_run(
            self.split_dir, config, **self.folders, validates=True, device=self.device, watch=watch
        )

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
        summary = training_summary(folder, fit.select)
        value, epochs = summary["valid_value"], (summary["epochs"], summary["best_epoch"])
        return Trial(number, text, fit.select, value, *epochs, None, stage.key(), summary["seconds"])


def trials_frame(trials: Sequence[Trial]) -> pl.DataFrame:
    """Return trials as a table (SCHEMA)."""
    return pl.DataFrame([asdict(trial) for trial in trials], schema=SCHEMA)


def replace_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame with its checksum beside and rename, so that no reader sees half of it."""
    content = BytesIO()
    frame.write_parquet(content, metadata={artifacts.CHECKSUM: _checksum(frame)})
    storage.replace_file(path, content.getvalue())


def read_trials(path: Path) -> pl.DataFrame:
    """Read a table of trials. Raises DamagedError where it differs from its checksum."""
    frame = read_parquet(path)
    if not artifacts.is_trusting() and pl.read_parquet_metadata(path).get(artifacts.CHECKSUM) != _checksum(frame):
        raise DamagedError(f"{path} was changed or damaged after it was written; remove it to search again")
    return frame


def _checksum(frame: pl.DataFrame) -> str:
    return sha256(frame.write_json().encode()).hexdigest()


def require_optuna() -> None:
    """Raise ConfigError where optuna is not installed."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "found no optuna, which `hardneg study search` needs; install it with: pip install 'hardneg[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def spread(space: Space, defaults: Mapping[str, Scalar], number: int, *, seed: int) -> dict[str, Scalar]:
    """Return settings for trial `number`, 1 to RANDOM_TRIALS - 1: a Latin hypercube (McKay et al., 1979) over the space.

    The range of a setting is cut into as many parts as there are such trials. One trial falls into each part, at a random
    point; of choices, evenly spaced ones are taken. The values of a setting depend only on the seed, its name and its
    range, so that all rows of a search try the same learning rates. defaults: as for `suggest`.
    """
    return {
        field: _value_in_part(field, entry, defaults[field], number, seed) for field, entry in sorted(space.items())
    }


def _value_in_part(field: str, entry: Choices | Range, default: Scalar, number: int, seed: int) -> Scalar:
    rng, parts = generator(seed, f"spread {field}"), RANDOM_TRIALS - 1
    part, inside = rng.permutation(parts)[number - 1], rng.random(parts)[number - 1]
    if isinstance(entry, Choices):
        return entry.choices[int((part + 0.5) / parts * len(entry.choices))]
    share = float((part + inside) / parts)
    low, high = (int(entry.low), int(entry.high) + 1) if type(default) is int else (entry.low, entry.high)
    value = low * (high / low) ** share if entry.log else low + (high - low) * share
    return int(value) if type(default) is int else value


def suggest(
    space: Space, defaults: Mapping[str, Scalar], tried: Sequence[Tried], *, seed: int, purpose: str
) -> dict[str, Scalar]:
    """Return settings for trial number len(tried), from the arguments alone, so that a replay suggests the same.

    defaults: a value of every field of the space; an integer there makes the range one of integers. Settings outside the
    space (such as the first trial's) are left out for optuna, field by field; a failed trial counts as the worst.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    require_optuna()
    distributions = {field: _distribution(entry, defaults[field]) for field, entry in sorted(space.items())}
    draw = int(generator(seed, purpose, len(tried)).integers(2**31))
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=draw)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for settings, value in tried:
        inside = {field: value for field, value in settings.items() if _contains(distributions[field], value)}
        used = {field: distributions[field] for field in inside}
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        study.add_trial(create_trial(params=inside, distributions=used, value=value, state=state))
    return dict(study.ask(distributions).params)


def _distribution(entry: Choices | Range, default: Scalar) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(entry, Choices):
        return CategoricalDistribution(entry.choices)
    if type(default) is int:
        return IntDistribution(int(entry.low), int(entry.high), log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


def _contains(distribution: BaseDistribution, value: Scalar) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:
        return False
