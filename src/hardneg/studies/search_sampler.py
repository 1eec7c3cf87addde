"""The next settings to try: values spread over the ranges at first, then by optuna's tree-structured Parzen estimator.

No other module imports optuna.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardneg.errors import ConfigError
from hardneg.random import generator
from hardneg.studies.spec import Choices, Range, Scalar, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

RANDOM_TRIALS = 5
"""Trials, the first included, before suggestions follow results; independent of the budget, which may be raised later."""


@dataclass(frozen=True)
class TriedSettings:
    """Settings that were tried, and their value; None where they failed."""

    settings: Mapping[str, Scalar]
    value: float | None


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
    space: Space, defaults: Mapping[str, Scalar], tried: Sequence[TriedSettings], *, seed: int, purpose: str
) -> dict[str, Scalar]:
    """Return settings for trial number len(tried), from the arguments alone, so that a replay suggests the same.

    defaults: a value of every field of the space; an integer there makes the range one of integers. Settings outside the
    space (such as the first trial's) are left out for optuna, field by field; a failed trial counts as the worst.
    """
    import optuna

    require_optuna()
    distributions = {field: _distribution(entry, defaults[field]) for field, entry in sorted(space.items())}
    draw = int(generator(seed, purpose, len(tried)).integers(2**31))
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=draw)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_finished_trial(settings, distributions) for settings in tried])
    return dict(study.ask(distributions).params)


def _distribution(entry: Choices | Range, default: Scalar) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(entry, Choices):
        return CategoricalDistribution(entry.choices)
    if type(default) is int:
        return IntDistribution(int(entry.low), int(entry.high), log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


def _finished_trial(tried: TriedSettings, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    inside = {field: value for field, value in tried.settings.items() if _contains(distributions[field], value)}
    return create_trial(
        params=inside,
        distributions={field: distributions[field] for field in inside},
        value=tried.value,
        state=TrialState.PRUNED if tried.value is None else TrialState.COMPLETE,
    )


def _contains(distribution: BaseDistribution, value: Scalar) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:
        return False
