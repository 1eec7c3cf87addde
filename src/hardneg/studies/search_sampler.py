"""The next settings to try: first values spread over the ranges, then by optuna's tree-structured Parzen estimator.

The only place that knows optuna.
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
"""Trials, the first included, before suggestions follow results; it does not depend on the budget, which may be raised later."""


@dataclass(frozen=True)
class Tried:
    """Settings that were tried and what came of them; None where they failed."""

    settings: Mapping[str, Scalar]
    value: float | None


def require_optuna() -> None:
    """ConfigError where optuna is not installed."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "found no optuna, which `hardneg search` needs; install it with: pip install 'hardneg[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def spread(space: Space, given: Mapping[str, Scalar], number: int, *, seed: int) -> dict[str, Scalar]:
    """Settings for trial `number`, 1 and up to RANDOM_TRIALS - 1: a Latin hypercube (McKay et al., 1979) over the space.

    The range of a setting is cut into as many parts as there are such trials, and one of them falls into each, anywhere in
    it; of choices, evenly spaced ones. What they try of a setting depends on the seed, its name and its range alone, so that
    all rows of a search try the same learning rates. given: as for `suggest`.
    """
    return {field: _tried(field, entry, given[field], number, seed) for field, entry in sorted(space.items())}


def _tried(field: str, entry: Choices | Range, given: Scalar, number: int, seed: int) -> Scalar:
    rng, parts = generator(seed, f"spread {field}"), RANDOM_TRIALS - 1
    part, inside = rng.permutation(parts)[number - 1], rng.random(parts)[number - 1]
    if isinstance(entry, Choices):
        return entry.choices[int((part + 0.5) / parts * len(entry.choices))]
    share = float((part + inside) / parts)
    low, high = (int(entry.low), int(entry.high) + 1) if type(given) is int else (entry.low, entry.high)
    value = low * (high / low) ** share if entry.log else low + (high - low) * share
    return int(value) if type(given) is int else value


def suggest(
    space: Space, given: Mapping[str, Scalar], tried: Sequence[Tried], *, seed: int, purpose: str
) -> dict[str, Scalar]:
    """Settings for trial number len(tried), from the arguments alone: a replay suggests what the first call did.

    given: a value of every field of the space, which tells whole numbers from others. Settings outside the space (the
    first trial's, perhaps) are kept from optuna, field by field; a trial that failed counts as the worst.
    """
    import optuna

    require_optuna()
    distributions = {field: _distribution(entry, given[field]) for field, entry in sorted(space.items())}
    draw = int(generator(seed, purpose, len(tried)).integers(2**31))
    sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=draw)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_as_trial(one, distributions) for one in tried])
    return dict(study.ask(distributions).params)


def _distribution(entry: Choices | Range, given: Scalar) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(entry, Choices):
        return CategoricalDistribution(entry.choices)
    if type(given) is int:
        return IntDistribution(int(entry.low), int(entry.high), log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


def _as_trial(one: Tried, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    inside = {field: value for field, value in one.settings.items() if _contains(distributions[field], value)}
    return create_trial(
        params=inside,
        distributions={field: distributions[field] for field in inside},
        value=one.value,
        state=TrialState.PRUNED if one.value is None else TrialState.COMPLETE,
    )


def _contains(distribution: BaseDistribution, value: Scalar) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:
        return False
