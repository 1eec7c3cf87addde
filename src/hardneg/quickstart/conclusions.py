"""Sentences about a finished comparison: the choice, its effect, and an answer to each question, computed from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from hardneg.pipeline import POPULARITY
from hardneg.pipeline.epoch_limit import STILL_RISING
from hardneg.quickstart.methods import BASELINE, DNS, METRICS, MIXGCF, RETRIEVED, SELECT, Methods
from hardneg.report import printers, tables
from hardneg.report.verdicts import describe_interval, verdict_words
from hardneg.studies.results import Results

LABEL = printers.metric_label(SELECT)


def choose_line(results: Results, methods: Methods) -> str:
    """Return the line with the highest mean validation value over seeds, the first of equals.

    Test pairs are not read. Controls are no methods to choose.
    """
    can_be_chosen = (pl.col("status") == "done") & ~pl.col("line").is_in(list(methods.controls))
    runs = results.runs.filter(can_be_chosen).unique(["line", "seed"], maintain_order=True)
    means = runs.group_by("line", maintain_order=True).agg(pl.col("valid_value").mean())
    return str(means.row(int(means["valid_value"].arg_max() or 0))[0])


def conclude(results: Results, methods: Methods, chosen: str) -> list[str]:
    """Return the conclusions, the most important first."""
    table = results.tables[0]
    lines = {line["row"]: line for line in table.frame.iter_rows(named=True)}
    pairs = {line["row"]: line for part in table.pairs for line in part.frame.iter_rows(named=True)}
    methods_alone = {name: line for name, line in lines.items() if name not in methods.controls}
    sentences = [_describe_choice(chosen, lines), *_describe_best_on_test(chosen, methods_alone)]
    sentences += _describe_rising(lines)
    sentences.append(_describe("A model of each customer against the best sellers for everyone", lines[POPULARITY], -1))
    sentences += [_describe(f"Hard negatives by score, {name}", lines[name]) for name in (DNS, MIXGCF) if name in lines]
    for line, other in methods.comparisons:
        if line in pairs:
            sentences.append(_describe(f"Item texts beside {other} (late fusion)", pairs[line], other=other))
    subjects = {RETRIEVED: "Hard negatives retrieved by text"}
    subjects |= {} if methods.llm is None else {methods.llm.row: f"Hard negatives named by {methods.llm.name}"}
    for row in methods.controls.values():
        sentences.append(_describe(subjects[row], lines[row]))
        if row in pairs:
            sentences.append(_describe(f"{subjects[row]} against random vectors", pairs[row], other=""))
    return sentences


def _describe_choice(chosen: str, lines: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the choice, its quality in plain numbers, and the comparison with uniform negatives."""
    line, recall = lines[chosen], METRICS[1]
    quality = (
        f"on test pairs {line[recall]:.1%} of a customer's held-out items are among the 20 recommended "
        f"({LABEL} {line[SELECT]:.4f})"
    )
    if chosen == BASELINE:
        return f"Use {chosen}: it is the best on validation pairs; {quality}. No other method was chosen over it."
    return f"Use {chosen}: it is the best on validation pairs; {quality}. {_describe(f'Against {BASELINE}', line, other='')}"


def _describe_best_on_test(chosen: str, lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence where another line is higher on the test pairs, which choose nothing."""
    best = max(lines, key=lambda name: float(lines[name][SELECT]))
    if best == chosen:
        return []
    return [f"{best} is higher on the test pairs ({LABEL} {lines[best][SELECT]:.4f}), which were not used to choose."]


def _describe_rising(lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence where runs were still rising when their epochs ended."""
    rising = [name for name, line in lines.items() if STILL_RISING in (line["notes"] or "")]
    if not rising:
        return []
    shrink = f"; differences to {BASELINE} may shrink" if BASELINE in rising else ""
    return [f"With more --minutes these may gain, since they were still rising: {', '.join(rising)}{shrink}."]


def _describe(subject: str, line: Mapping[str, Any], sign: int = 1, other: str = BASELINE) -> str:
    """Return effect, interval, p and verdict of a line of a table. sign: -1 to compare the other way round.

    other: the line that it is compared with; "" where the subject names it.
    """
    verdict = verdict_words(line[tables.VERDICT])
    if line["p_holm"] is None:
        return f"{subject}: not tested."
    if sign < 0:  # relative numbers are shares of the other mean, so the difference is stated as it is
        verdict = {tables.BETTER: tables.WORSE, tables.WORSE: tables.BETTER}.get(verdict, verdict)
        effect = f"{LABEL} {line[SELECT] - line['difference']:.4f} against {line[SELECT]:.4f}"
    else:
        effect = f"{LABEL} {describe_interval(line)}"
        effect += other and f" against {other}"
    return f"{subject}: {effect}, p {printers.p_text(line['p_holm'])}: {verdict}."
