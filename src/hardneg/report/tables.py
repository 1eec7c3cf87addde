"""Results as data frames first: mean, spread, interval, p, win / tie / loss. `printers` turns them into text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import Difference, compare_methods, holm
from hardneg.report.printers import (
    CONTROL,
    comparison_text,
    latex,
    markdown,
    metric_label,
    p_text,
    pairwise_text,
    plain_latex,
    summary_text,
)
from hardneg.types import Floats

__all__ = [
    "SIGNIFICANT",
    "MethodScores",
    "comparison_table",
    "comparison_text",
    "find_row",
    "latex",
    "markdown",
    "metric_label",
    "p_text",
    "pairwise_table",
    "pairwise_text",
    "plain_latex",
    "summary_table",
    "summary_text",
]

SIGNIFICANT = 0.05
"""A difference has a verdict where p, after Holm, is below this."""
TIE = 1e-12
"""Two users' means this close are equal: metrics lie in [0, 1], and sums of floats round."""
SIZES = ("difference", "low", "high", "relative", "relative_low", "relative_high", "p", "p_holm")
COUNTS = ("wins", "ties", "losses")
VERDICT = "verdict"
BETTER, UNDECIDED, WORSE = "better", "not distinguishable", "worse"


@dataclass(frozen=True)
class MethodScores:
    """One row of a table: a method under several seeds.

    values: metric -> (seeds, users), the same users in every row. seconds: (seeds,) of training. false_negatives:
    part -> mean like-probability of what was served, empty where the truth is unknown. without_vector: share of
    pairs that had no text vector, None for samplers that use none.
    """

    name: str
    values: dict[str, Floats]
    seconds: Floats
    false_negatives: dict[str, float]
    without_vector: float | None = None


def comparison_table(
    rows: list[MethodScores], baseline: str, metrics: tuple[str, ...], *, apart: Collection[str] = ()
) -> pl.DataFrame:
    """Every row against the baseline row: one line a row, in the order given.

    For every metric M: the columns "M", mean over seeds and users, and "M sd", the standard deviation (divisor S - 1)
    of the seeds' means. And, null in the baseline's own line:
      difference, low, high    M minus the baseline's, and its 95 % interval (`compare_methods`), in units of M
      relative, relative_low, relative_high    the same as shares of the baseline's mean
      p, p_holm                of "no difference", as it is and after Holm
      verdict                  "better" or "worse" where p_holm is below 0.05, else "not distinguishable"
      wins, ties, losses       users whose mean of M over this row's seeds is higher than, equal to (within 1e-12),
                               lower than their mean over the baseline's seeds; they sum to the number of users
    These bear their plain names for the first metric, and "M difference", "M low" ... for the others.

    Wins and losses count users and no amounts, seeds' chance is in them, and nothing is tested by them.

    The family that Holm protects is one metric of one table: the rows of one dataset and backbone against their
    baseline. Neither several metrics nor several tables are adjusted for; name the metric that decides beforehand and
    put it first, and read `summary_table` as a count.

    apart: rows outside that family, such as controls, whose test is another (`pairwise_table`); their p_holm is null and their
    verdict "control".
    """
    _require_distinct([row.name for row in rows])
    base = find_row(rows, baseline)
    against = {metric: _against(rows, base, metric, apart) for metric in metrics}
    lines = []
    for row in rows:
        line: dict[str, object] = {"row": row.name, **_spread(row, metrics)}
        for metric in metrics:
            found = against[metric].get(row.name, {})
            line |= {column(name, metric, metrics): found.get(name) for name in (*SIZES, VERDICT, *COUNTS)}
        line |= {"seconds": float(np.mean(row.seconds)), **_false_negatives(row), "without_vector": row.without_vector}
        lines.append(line)
    return pl.DataFrame(lines, schema_overrides=_types(metrics), infer_schema_length=None)


def column(name: str, metric: str, metrics: tuple[str, ...]) -> str:
    """Where `comparison_table` keeps "difference", "p_holm" ... of a metric: plain for the first, else after its name."""
    return name if metric == metrics[0] else f"{metric} {name}"


def find_row(rows: list[MethodScores], name: str) -> MethodScores:
    """The row of that name."""
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        raise ConfigError(f"found rows {', '.join(row.name for row in rows)}, expected {name!r} among them")
    return found


def _require_distinct(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"found rows named alike ({', '.join(twice)}), expected names that tell them apart")


def _types(metrics: tuple[str, ...]) -> dict[str, pl.DataType]:
    """Of columns that may be null from top to bottom."""
    kinds = [(SIZES, pl.Float64()), ((VERDICT,), pl.String()), (COUNTS, pl.Int64())]
    theirs = {column(name, metric, metrics): kind for names, kind in kinds for name in names for metric in metrics}
    return theirs | dict.fromkeys(("false_negatives", "nearest", "without_vector"), pl.Float64())


def _spread(row: MethodScores, metrics: tuple[str, ...]) -> dict[str, float]:
    spread: dict[str, float] = {}
    for metric in metrics:
        by_seed = row.values[metric].mean(axis=1)
        spread |= {metric: float(by_seed.mean()), f"{metric} sd": float(by_seed.std(ddof=1))}
    return spread


def _against(
    rows: list[MethodScores], base: MethodScores, metric: str, apart: Collection[str]
) -> dict[str, dict[str, object]]:
    """Row name -> what `comparison_table` says of it against the baseline on one metric."""
    others = [row for row in rows if row is not base]
    differences = {row.name: compare_methods(row.values[metric], base.values[metric]) for row in others}
    family = [name for name in differences if name not in apart]
    adjusted = dict(zip(family, holm([differences[name].p for name in family]), strict=True))
    return {
        row.name: {
            **_sizes(differences[row.name], adjusted.get(row.name)),
            **_users(row.values[metric], base.values[metric]),
        }
        for row in others
    }


def pairwise_table(pairs: Sequence[tuple[MethodScores, MethodScores]], metrics: tuple[str, ...]) -> pl.DataFrame:
    """Rows against rows of their own: one line a pair, in the order given; the pairs are Holm's family.

    Columns "row" and "against", for every metric M the means "M" and "M against", and the columns that `comparison_table`
    has for a row and its baseline: the row minus what it is held against.
    """
    lines: list[dict[str, object]] = [{"row": one.name, "against": other.name} for one, other in pairs]
    for metric in metrics:
        values = [(one.values[metric], other.values[metric]) for one, other in pairs]
        differences = [compare_methods(*both) for both in values]
        adjusted = holm([difference.p for difference in differences])
        for line, both, difference, p in zip(lines, values, differences, adjusted, strict=True):
            found = {**_sizes(difference, p), **_users(*both)}
            line |= {metric: float(both[0].mean()), f"{metric} against": float(both[1].mean())}
            line |= {column(name, metric, metrics): value for name, value in found.items()}
    return pl.DataFrame(lines)


def _sizes(found: Difference, p_holm: float | None) -> dict[str, object]:
    ends = {"difference": found.mean, "low": found.low, "high": found.high}
    shares = {"relative": found.relative, "relative_low": found.relative_low, "relative_high": found.relative_high}
    return {**ends, **shares, "p": found.p, "p_holm": p_holm, VERDICT: _verdict(found, p_holm)}


def _verdict(found: Difference, p_holm: float | None) -> str:
    if p_holm is None:
        return CONTROL
    return UNDECIDED if p_holm >= SIGNIFICANT else BETTER if found.mean > 0 else WORSE


def _users(values: Floats, base: Floats) -> dict[str, object]:
    gains = values.mean(axis=0) - base.mean(axis=0)
    counts = (gains > TIE, np.abs(gains) <= TIE, gains < -TIE)
    return {name: int(flags.sum()) for name, flags in zip(COUNTS, counts, strict=True)}


def _false_negatives(row: MethodScores) -> dict[str, float | None]:
    """Of items: theirs. Of vectors: the mean over the source items' parts, and that of the nearest catalogue item."""
    nearest = row.false_negatives.get(NEAREST_ITEM)
    sources = [rate for part, rate in row.false_negatives.items() if part != NEAREST_ITEM]
    return {"false_negatives": float(np.mean(sources)) if sources else None, "nearest": nearest}


def summary_table(groups: Mapping[str, pl.DataFrame], metric: str | None = None) -> pl.DataFrame:
    """A study in one frame: in how many groups is each row better or worse than the baseline?

    groups: name of a dataset and backbone -> its `comparison_table`, all with one baseline. metric: None for the one that
    each frame puts first, else another one of them all. One line a row, in order of first appearance, without the
    baseline and without controls: groups (in which it stands), better, not_distinguishable, worse (in how many of them; verdicts at 5 %
    after Holm within the group), relative (mean over groups of the relative difference, each group weighted alike;
    nan if a baseline's mean is 0). The counts are no test of their own: of twenty groups without any difference, one
    is expected to show one.
    """
    if not groups:
        raise DataError("found no group, expected one table at least")
    prefix = "" if metric is None else f"{metric} "
    verdict, relative = (pl.col(prefix + name).alias(name) for name in (VERDICT, "relative"))
    lines = pl.concat([_known(frame, prefix + VERDICT).select("row", verdict, relative) for frame in groups.values()])
    baselines = lines.filter(pl.col(VERDICT).is_null())["row"].unique(maintain_order=True).to_list()
    if len(baselines) != 1:
        raise DataError(f"found baselines {', '.join(baselines)}, expected the same one in every group")
    compared = lines.filter(pl.col(VERDICT).is_not_null(), pl.col(VERDICT) != CONTROL).group_by(
        "row", maintain_order=True
    )
    return compared.agg(*verdict_counts())


def verdict_counts() -> list[pl.Expr]:
    """Of lines with "verdict" and "relative": groups, better, not_distinguishable, worse, and the mean of "relative"."""
    counts = [
        (pl.col(VERDICT) == name).sum().cast(pl.Int64).alias(name.replace(" ", "_"))
        for name in (BETTER, UNDECIDED, WORSE)
    ]
    return [pl.len().cast(pl.Int64).alias("groups"), *counts, pl.col("relative").mean()]


def _known(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    if name not in frame.columns:
        raise DataError(f"found no column {name!r}, expected it of every group: compare all of them on that metric")
    return frame
