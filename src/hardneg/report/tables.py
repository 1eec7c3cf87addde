"""Result tables as data frames: means, intervals, p-values, users won and lost. `printers` turns them into text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import Difference, compare_methods, compare_users, holm
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.report.printers import CONTROL, UNTESTED
from hardneg.types import Floats

SIGNIFICANT = 0.05
"""Level below which a p-value adjusted by Holm is significant."""
TIE = 1e-12
"""Largest difference of two users' means that counts as a tie; it covers rounding errors of metrics in [0, 1]."""
SIZES = ("difference", "low", "high", "relative", "relative_low", "relative_high", "p", "p_holm")
COUNTS = ("wins", "ties", "losses")
VERDICT = "verdict"
BETTER, UNDECIDED, WORSE = "better", "not distinguishable", "worse"


@dataclass(frozen=True)
class MethodScores:
    """Results of one method under several seeds, which make one row of a table.

    values: metric -> (seeds, users), with the same users for all methods. seconds: (seeds,) of training.
    false_negatives: part of the negatives -> mean like-probability, empty if the truth is unknown. without_vector:
    share of pairs without a text vector, None for samplers that use none. notes: what a reader of its numbers must know.
    """

    name: str
    values: dict[str, Floats]
    seconds: Floats
    false_negatives: dict[str, float]
    without_vector: float | None = None
    notes: tuple[str, ...] = ()


def comparison_table(
    rows: list[MethodScores], baseline: str, metrics: tuple[str, ...], *, controls: Collection[str] = ()
) -> pl.DataFrame:
    """Compare every method with the baseline: one line per method, in the given order.

    For every metric M there are the columns "M", the mean over seeds and users, and "M sd", the standard deviation of
    the seeds' means (divisor S - 1; null for one seed). Further columns are null for the baseline. They have these names for the first
    metric, and are prefixed with the metric for the others ("M difference", "M low", ...):

      difference, low, high    M minus the baseline's M, with its 95 % interval (`compare_methods`)
      relative, relative_low, relative_high    the same as shares of the baseline's mean
      p, p_holm                p-value of "no difference", raw and adjusted by Holm
      verdict                  "better" or "worse" if p_holm < 0.05, else "not distinguishable"; "not tested", without
                               interval and p, where a method or the baseline has fewer than three seeds
      wins, ties, losses       number of users whose mean over seeds is higher than, equal to (within 1e-12) or lower
                               than with the baseline; descriptive counts without a test

    Holm's family is one metric of one table, that is the methods of one dataset and backbone. Neither several metrics
    nor several tables are adjusted for, so choose the deciding metric beforehand and put it first.

    The column "notes" has the notes of a method, null without any.

    controls: methods outside the family, which `pairwise_table` tests instead; their p_holm is null and their verdict
    "control".
    """
    _require_distinct([row.name for row in rows])
    base = find_row(rows, baseline)
    by_metric = {metric: _compare_rows(rows, base, metric, controls) for metric in metrics}
    lines = []
    for row in rows:
        line: dict[str, object] = {"row": row.name}
        for metric in metrics:
            by_seed = row.values[metric].mean(axis=1)
            spread = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
            line |= {metric: float(by_seed.mean()), f"{metric} sd": spread}
        for metric in metrics:
            values = by_metric[metric].get(row.name, {})
            line |= {column(name, metric, metrics): values.get(name) for name in (*SIZES, VERDICT, *COUNTS)}
        rates = [rate for part, rate in row.false_negatives.items() if part != NEAREST_ITEM]
        line["seconds"] = float(np.mean(row.seconds))
        line["false_negatives"] = float(np.mean(rates)) if rates else None
        line |= {"nearest": row.false_negatives.get(NEAREST_ITEM), "without_vector": row.without_vector}
        line["notes"] = "; ".join(row.notes) or None
        lines.append(line)
    return pl.DataFrame(lines, schema_overrides=_column_types(metrics), infer_schema_length=None)


def column(name: str, metric: str, metrics: tuple[str, ...]) -> str:
    """Return the column of `comparison_table` with a quantity ("difference", "p_holm", ...) of a metric."""
    return name if metric == metrics[0] else f"{metric} {name}"


def find_row(rows: list[MethodScores], name: str) -> MethodScores:
    """Return the row with this name."""
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        raise ConfigError(f"found rows {', '.join(row.name for row in rows)}, expected {name!r} among them")
    return row


def pairwise_table(
    pairs: Sequence[tuple[MethodScores, MethodScores]], metrics: tuple[str, ...], *, by_users: bool = False
) -> pl.DataFrame:
    """Compare pairs of methods, one line per pair in the given order; the pairs are Holm's family.

    Columns are "row" and "against" (the names), for every metric M the means "M" and "M against", and the columns of
    `comparison_table` for the difference of the two. by_users: where there are fewer than three seeds, test over the users
    alone (`compare_users`).
    """
    lines: list[dict[str, object]] = [{"row": one.name, "against": other.name} for one, other in pairs]
    for metric in metrics:
        values = [(one.values[metric], other.values[metric]) for one, other in pairs]
        for line, (one, other), comparison in zip(
            lines, values, _compare_pairs(values, by_users=by_users), strict=True
        ):
            line |= {metric: float(one.mean()), f"{metric} against": float(other.mean())}
            line |= {column(name, metric, metrics): value for name, value in comparison.items()}
    types = {name: dtype for name, dtype in _column_types(metrics).items() if name in lines[0]} if lines else {}
    return pl.DataFrame(lines, schema_overrides=types, infer_schema_length=None)


def summary_table(groups: Mapping[str, pl.DataFrame], metric: str | None = None) -> pl.DataFrame:
    """Count over all tables of a study how often each method is better or worse than the baseline.

    groups: name of a dataset and backbone -> its `comparison_table`, all with the same baseline. metric: None for the
    first one of each table. There is one line per method in order of first appearance, without baseline and controls.
    Columns: groups (tables with the method), better, not_distinguishable, worse (numbers of tables), and relative, the
    unweighted mean over tables of the relative difference (NaN if a baseline's mean is 0). The counts are no test: of
    twenty tables without any difference, one is expected to show one.
    """
    if not groups:
        raise DataError("found no group, expected one table at least")
    prefix = "" if metric is None else f"{metric} "
    for frame in groups.values():
        if prefix + VERDICT not in frame.columns:
            raise DataError(f"found no column {prefix + VERDICT!r}, expected it in every table; add the metric to all")
    verdict, relative = (pl.col(prefix + name).alias(name) for name in (VERDICT, "relative"))
    lines = pl.concat([frame.select("row", verdict, relative) for frame in groups.values()])
    baselines = lines.filter(pl.col(VERDICT).is_null())["row"].unique(maintain_order=True).to_list()
    if len(baselines) != 1:
        raise DataError(f"found baselines {', '.join(baselines)}, expected the same one in every group")
    compared = lines.filter(~pl.col(VERDICT).is_in([CONTROL, UNTESTED]))  # which drops null, too
    return compared.group_by("row", maintain_order=True).agg(*_verdict_counts())


def pairs_summary(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Count over several tables how often each pair of methods differs significantly.

    frames: `pairwise_table` of each group; of a pair repeated in one frame the first counts. There is one line
    per pair in order of first appearance. Columns: pair ("row against other"), groups (tables with the pair), better,
    not_distinguishable, worse (numbers of tables), and relative (mean over tables). The counts are no test.
    """
    pair = pl.concat_str("row", "against", separator=" against ").alias("pair")
    lines = pl.concat(
        [frame.select(pair, "verdict", "relative").unique("pair", maintain_order=True) for frame in frames]
    )
    tested = lines.filter(pl.col(VERDICT) != UNTESTED)
    return tested.group_by("pair", maintain_order=True).agg(*_verdict_counts())


def _verdict_counts() -> list[pl.Expr]:
    """Return aggregations of the columns verdict and relative: groups, counts of each verdict, mean of relative."""
    counts = [
        (pl.col(VERDICT) == name).sum().cast(pl.Int64).alias(name.replace(" ", "_"))
        for name in (BETTER, UNDECIDED, WORSE)
    ]
    return [pl.len().cast(pl.Int64).alias("groups"), *counts, pl.col("relative").mean()]


def _require_distinct(names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"found several rows named {', '.join(repeated)}, expected distinct names; rename them")


def _column_types(metrics: tuple[str, ...]) -> dict[str, pl.DataType]:
    """Return the types of columns that may contain only nulls."""
    types = [(SIZES, pl.Float64()), ((VERDICT,), pl.String()), (COUNTS, pl.Int64())]
    by_column = {column(name, metric, metrics): dtype for names, dtype in types for name in names for metric in metrics}
    spreads = {f"{metric} sd": pl.Float64() for metric in metrics}
    others = dict.fromkeys(("false_negatives", "nearest", "without_vector"), pl.Float64())
    return {**by_column, **spreads, **others, "notes": pl.String()}


def _compare_rows(
    rows: list[MethodScores], base: MethodScores, metric: str, controls: Collection[str]
) -> dict[str, dict[str, object]]:
    """Return row name -> its comparison with the baseline on one metric."""
    others = [row for row in rows if row is not base]
    pairs = [(row.values[metric], base.values[metric]) for row in others]
    comparisons = _compare_pairs(pairs, [row.name not in controls for row in others])
    return {row.name: comparison for row, comparison in zip(others, comparisons, strict=True)}


def _compare_pairs(
    pairs: Sequence[tuple[Floats, Floats]], in_family: Sequence[bool] | None = None, *, by_users: bool = False
) -> list[dict[str, object]]:
    """Return the comparison of each pair of (seeds, users). in_family: False for pairs outside Holm's family."""
    tests = {n: _test_pair(*pair, by_users=by_users) for n, pair in enumerate(pairs)}
    tested = {n: difference for n, difference in tests.items() if difference is not None}
    family = [n for n in tested if in_family is None or in_family[n]]
    adjusted = dict(zip(family, holm([tested[n].p for n in family]), strict=True))
    return [
        {**(_sizes(tested[n], adjusted.get(n)) if n in tested else _untested(*pair)), **_count_users(*pair)}
        for n, pair in enumerate(pairs)
    ]


def _test_pair(values: Floats, base: Floats, *, by_users: bool) -> Difference | None:
    """Return the difference of (seeds, users); None where it is not tested, for lack of seeds or users."""
    if min(len(values), len(base)) >= MIN_SEEDS:
        return compare_methods(values, base)
    return compare_users(values.mean(axis=0), base.mean(axis=0)) if by_users and values.shape[1] > 1 else None


def _untested(values: Floats, base: Floats) -> dict[str, object]:
    """Return the difference of the means, without interval and p."""
    difference, mean = float(values.mean() - base.mean()), float(base.mean())
    relative = difference / mean if mean else float("nan")
    return {**dict.fromkeys(SIZES), "difference": difference, "relative": relative, VERDICT: UNTESTED}


def _sizes(difference: Difference, p_holm: float | None) -> dict[str, object]:
    values = {name: getattr(difference, name) for name in SIZES[1:-1]}
    verdict = BETTER if difference.mean > 0 else WORSE
    if p_holm is None or p_holm >= SIGNIFICANT:
        verdict = CONTROL if p_holm is None else UNDECIDED
    return {"difference": difference.mean, **values, "p_holm": p_holm, VERDICT: verdict}


def _count_users(values: Floats, base: Floats) -> dict[str, object]:
    gains = values.mean(axis=0) - base.mean(axis=0)
    counts = (gains > TIE, np.abs(gains) <= TIE, gains < -TIE)
    return {name: int(flags.sum()) for name, flags in zip(COUNTS, counts, strict=True)}
