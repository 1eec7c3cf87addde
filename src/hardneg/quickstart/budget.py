"""The budget of time: how many trials and epochs fit, from the time of an epoch, decided once and then kept.

The levels are far apart, so that small differences between two measurements rarely change the decision. What is trained
follows from the decision alone, wherever the command is interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from hardneg import storage
from hardneg.config import Config, parse_config
from hardneg.errors import ConfigError
from hardneg.models import MF, LightGCN, ModelConfig
from hardneg.types import WeightPrecision

NAME = "budget.json"
SEEDS = 3
LEVELS = ((12, 150), (8, 100), (6, 60), (4, 40), (4, 20), (1, 25), (1, 12), (1, 6))
"""Trials of each method and most epochs of a run, each about half of the one before. One trial is the settings as given."""
SEARCHED = (4, 20)
"""Cheapest level that searches; if a backbone does not reach it, the next one is measured."""
SHARE = 0.75
"""Share of the time that training may take; the rest is for reading, texts, evaluation and other load."""
MOST_ENCODING = 0.4
"""Share of the time that encoding texts may take; above it, no method reads texts."""
ENCODINGS, TIMED_TEXTS = 2, 24
"""How often item texts are encoded (for the comparison, and for the final model), and how many are timed."""
PARALLEL = 0.8
"""Speed of a process beside others, as a share of its speed alone."""
BACKBONES: dict[str, ModelConfig] = {"LightGCN": LightGCN(), "MF": MF()}
"""Backbones, the better and slower one first."""


class TimeBudget(Config):
    """A decision about the time.

    minutes, given_trials, given_epochs, llm, precision: as asked for. texts: True where methods read texts. seconds: of an epoch of
    each method, as measured; empty where trials and epochs were given. expected: seconds of search, comparison and final
    model at most.
    """

    minutes: PositiveFloat
    given_trials: PositiveInt | None = None
    given_epochs: PositiveInt | None = None
    llm: str | None = None
    precision: WeightPrecision | None = None
    texts: bool
    backbone: str
    trials: PositiveInt
    epochs: PositiveInt
    seconds: dict[str, float]
    expected: tuple[float, float, float]

    def describe(self) -> str:
        """Return the decision in a sentence."""
        search = f"{self.trials} trials of each" if self.trials > 1 else "no search, settings as given"
        total = sum(self.expected)
        at_most = f"; at most {minutes_text(total)}" if self.seconds else ""
        over = ", more than asked for: the smallest plan" if self.seconds and total > 60 * self.minutes else ""
        return f"{self.backbone}, {search}, {SEEDS} seeds, at most {self.epochs} epochs{at_most}{over}."


def minutes_text(seconds: float) -> str:
    """Return a time in words."""
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"


def expected_seconds(
    seconds: Mapping[str, float], trials: int, epochs: int, workers: int, controls: Collection[str] = ()
) -> tuple[float, float, float]:
    """Return the most seconds of the search, the comparison and the final model.

    seconds: of an epoch of each method. controls: those whose settings are not searched.
    """
    speed = 1.0 if workers <= 1 else workers * PARALLEL
    searched = sum(value for name, value in seconds.items() if name not in controls)
    search = trials * epochs * searched / speed if trials > 1 else 0.0
    return search, SEEDS * epochs * sum(seconds.values()) / speed, 1.5 * epochs * max(seconds.values(), default=0.0)


def choose_level(
    seconds: Mapping[str, float], available: float, workers: int, controls: Collection[str] = ()
) -> tuple[int, int]:
    """Return the costliest level that fits into the available seconds, or the cheapest of all."""
    fits = (level for level in LEVELS if sum(expected_seconds(seconds, *level, workers, controls)) <= available)
    return next(fits, LEVELS[-1])


def is_searched(level: tuple[int, int]) -> bool:
    """Return True for levels from SEARCHED on."""
    return LEVELS.index(level) <= LEVELS.index(SEARCHED)


def read_budget(folder: Path, asked: Mapping[str, object]) -> TimeBudget | None:
    """Read an earlier decision; None without one. Raises ConfigError where it was made for another request."""
    path = folder / NAME
    if not path.is_file():
        return None
    budget: TimeBudget = parse_config(TimeBudget, storage.read_json(path), where=str(path))
    found = {name: getattr(budget, name) for name in asked}
    if found != dict(asked):
        differing = ", ".join(
            f"{name} {found[name]} (now {asked[name]})" for name in asked if found[name] != asked[name]
        )
        raise ConfigError(f"{folder} was begun with {differing}; repeat that, or choose another --out")
    return budget
