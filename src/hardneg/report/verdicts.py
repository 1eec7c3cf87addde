"""Conclusions of a `tables.comparison_table` in plain words; "better" and "worse" only where the corrected test says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from hardneg.report.printers import NO_VALUE, UNTESTED, VERDICT_TEXTS, metric_label, p_text
from hardneg.report.tables import BETTER, UNDECIDED, VERDICT, WORSE

SHARES = ("relative", "relative_low", "relative_high")


def verdict_words(verdict: str | None) -> str:
    """Return the name of a verdict."""
    return "baseline" if verdict is None else VERDICT_TEXTS.get(verdict, verdict)


def describe_effect(row: Mapping[str, Any]) -> str:
    """Return a difference with its interval and its p-value, as far as it was tested."""
    text = describe_interval(row)
    return text if row["p_holm"] is None else f"{text}, p {p_text(row['p_holm'])} after Holm"


def describe_interval(row: Mapping[str, Any]) -> str:
    """Return a relative difference with its interval, if it has one."""
    mean, *ends = (NO_VALUE if row[name] is None or math.isnan(row[name]) else f"{row[name]:+.1%}" for name in SHARES)
    return mean if NO_VALUE in ends else f"{mean} [{', '.join(ends)}]"


def describe_verdict(frame: pl.DataFrame, metric: str) -> str:
    """Return one or two sentences on which methods differ from the baseline. metric: the first one of the table."""
    rows, label = frame.rows(named=True), metric_label(metric)
    base = next(row for row in rows if row[VERDICT] is None)
    by_verdict = {
        verdict: sorted((row for row in rows if row[VERDICT] == verdict), key=lambda row: -float(row[metric]))
        for verdict in (BETTER, UNDECIDED, WORSE, UNTESTED)
    }
    if by_verdict[BETTER]:
        best, *others = by_verdict[BETTER]
        means = f"{label} {best[metric]:.4f} against {base[metric]:.4f}"
        text = f"{best['row']} is better than {base['row']}: {means}, {describe_effect(best)}."
        text += f" Better as well: {_list(others)}." if others else ""
    elif by_verdict[UNDECIDED] + by_verdict[WORSE]:
        text = f"No method is significantly better than {base['row']} ({label} {base[metric]:.4f})."
        text += _describe_nearest(by_verdict[UNDECIDED], label)
    elif by_verdict[UNTESTED]:
        first = by_verdict[UNTESTED][0]
        text = f"Not tested, since there are fewer than three seeds. The highest {label} besides {base['row']}: "
        text += f"{first['row']}, {describe_effect(first)}."
    else:
        text = f"Nothing to compare {base['row']} with ({label} {base[metric]:.4f})."
    return text + (f" Worse than {base['row']}: {_list(by_verdict[WORSE])}." if by_verdict[WORSE] else "")


def _describe_nearest(rows: list[dict[str, Any]], label: str) -> str:
    if not rows:
        return ""
    return (
        f" The highest {label} of the others: {rows[0]['row']}, {describe_effect(rows[0])}, no significant difference."
    )


def _list(rows: list[dict[str, Any]]) -> str:
    return "; ".join(row["row"] for row in rows)
