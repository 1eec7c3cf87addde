"""Results as data frames first: mean, spread over seeds, interval against a baseline. Printers come after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from hardneg.diagnostics.served import NEAREST
from hardneg.errors import ConfigError
from hardneg.evaluation import Difference, compare, holm
from hardneg.types import Floats

LIKED = {"false_negatives": "truly liked", "nearest": "nearest liked"}
"""Columns that need the truth: name in the frame -> header."""


@dataclass(frozen=True)
class Measured:
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


def comparison(rows: list[Measured], baseline: str, metrics: tuple[str, ...]) -> pl.DataFrame:
    """One line a row. For every metric: mean, sd over seeds; for the first also the difference to the baseline row
    with its 95 % interval, relative size, and the p-value after Holm over the rows of this table."""
    base = row_named(rows, baseline)
    others = [row for row in rows if row.name != baseline]
    first = metrics[0]
    differences = {row.name: compare(row.values[first], base.values[first]) for row in others}
    adjusted = dict(zip(differences, holm([d.p for d in differences.values()]), strict=True))
    return pl.DataFrame(
        [
            {
                "row": row.name,
                **_summary(row, metrics),
                **_against(differences.get(row.name), adjusted.get(row.name)),
                "seconds": float(np.mean(row.seconds)),
                **_false_negatives(row),
                "without_vector": row.without_vector,
            }
            for row in rows
        ],
        infer_schema_length=None,
    )


def row_named(rows: list[Measured], name: str) -> Measured:
    """The row of that name."""
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        raise ConfigError(f"found rows {', '.join(row.name for row in rows)}, expected {name!r} among them")
    return found


def _summary(row: Measured, metrics: tuple[str, ...]) -> dict[str, float]:
    summary: dict[str, float] = {}
    for metric in metrics:
        by_seed = row.values[metric].mean(axis=1)
        summary |= {metric: float(by_seed.mean()), f"{metric} sd": float(by_seed.std(ddof=1))}
    return summary


def _against(difference: Difference | None, p: float | None) -> dict[str, float | None]:
    if difference is None:
        return dict.fromkeys(("difference", "low", "high", "relative", "relative_low", "relative_high", "p_holm"))
    return {
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "relative": difference.relative,
        "relative_low": difference.relative_low,
        "relative_high": difference.relative_high,
        "p_holm": p,
    }


def _false_negatives(row: Measured) -> dict[str, float | None]:
    """Of items: theirs. Of vectors: the mean over the source items' parts, and that of the nearest catalogue item."""
    nearest = row.false_negatives.get(NEAREST)
    sources = [rate for part, rate in row.false_negatives.items() if part != NEAREST]
    return {"false_negatives": float(np.mean(sources)) if sources else None, "nearest": nearest}


def as_text(frame: pl.DataFrame, metrics: tuple[str, ...], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Headers and cells for people; a dash where there is no value."""
    names = [label(metric) for metric in metrics]
    headers = ["sampler", *names, f"{names[0]} vs {baseline} [95 %]", "p (Holm)", "s / run"]
    known = [name for name in LIKED if frame[name].is_not_null().any()]  # on a simulated store alone
    headers += [LIKED[name] for name in known]
    cells = []
    for row in frame.iter_rows(named=True):
        means = [f"{row[m]:.4f} ± {row[f'{m} sd']:.4f}" for m in metrics]
        cells.append([row["row"], *means, *_difference_text(row), f"{row['seconds']:.1f}", *_liked_text(row, known)])
    return headers, cells


def label(metric: str) -> str:
    """A metric as people write it: "ndcg@20" -> "nDCG@20"."""
    name, _, k = metric.partition("@")
    return {"ndcg": "nDCG", "hit_rate": "HitRate"}.get(name, name.capitalize()) + f"@{k}"


def _difference_text(row: dict[str, float | None]) -> list[str]:
    if row["relative"] is None:
        return ["–", "–"]
    percent = f"{row['relative']:+.1%} [{row['relative_low']:+.1%}, {row['relative_high']:+.1%}]"
    return [percent, p_text(row["p_holm"] or 0.0)]


def p_text(p: float) -> str:
    """A p-value as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _liked_text(row: dict[str, float | None], names: list[str]) -> list[str]:
    return ["–" if row[name] is None else f"{row[name]:.1%}" for name in names]


def markdown(headers: list[str], cells: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
