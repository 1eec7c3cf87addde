"""Text versions of the frames in `tables`: headers and cells, Markdown, LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

FALSE_NEGATIVE_HEADERS = {"false_negatives": "false negatives", "nearest": "nearest item is a false negative"}
"""Columns that need the ground truth: name in the frame -> header."""
NO_VALUE = "–"
"""Text of a missing value."""
CONTROL = "control"
"""Verdict of a control, which is outside the family of the table."""
UNTESTED = "not tested"
"""Verdict where a method or the baseline has too few seeds for a test."""
WIN_TIE_LOSS = "users won / tied / lost"
MARKS = {"better": r"$^{\ast}$", "worse": r"$^{\dagger}$"}
"""Verdict -> LaTeX mark after a mean; there is none for a difference that is not significant."""
SIGNS = {"better": " ▲", "worse": " ▼", UNTESTED: f" ({UNTESTED})"}
"""Verdict -> suffix of a mean; there is none for a difference that is not significant, nor for controls."""
VERDICT_TEXTS = {"not distinguishable": "not significant"}
"""Verdict -> text, where they differ."""
ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    # Misread in the OT1 font encoding, or as an option of the preceding \\ or \midrule.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "–": r"\textendash{}",
}
"""Character -> the LaTeX that prints it."""


def metric_label(metric: str) -> str:
    """Return the displayed name of a metric, such as "nDCG@20" for "ndcg@20"."""
    name, _, k = metric.partition("@")
    return {"ndcg": "nDCG", "hit_rate": "HitRate"}.get(name, name.capitalize()) + f"@{k}"


def p_text(p: float) -> str:
    """Return a p-value with three decimals, or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_text(frame: pl.DataFrame, metrics: tuple[str, ...], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells of a `tables.comparison_table`."""
    names = [metric_label(metric) for metric in metrics]
    with_truth = [name for name in FALSE_NEGATIVE_HEADERS if frame[name].is_not_null().any()]  # on simulated data
    headers = ["sampler", *names, f"{names[0]} vs {baseline} [95 %]", "p (Holm)", WIN_TIE_LOSS, "s / run"]
    headers += [FALSE_NEGATIVE_HEADERS[name] for name in with_truth]
    with_notes = frame["notes"].is_not_null().any()
    headers += ["notes"] if with_notes else []
    cells = []
    for row in frame.iter_rows(named=True):
        means = [_mean_text(row[m], row[f"{m} sd"]) for m in metrics]
        rates = [NO_VALUE if row[name] is None else f"{row[name]:.1%}" for name in with_truth]
        notes = [row["notes"] or ""] if with_notes else []
        cells.append([row["row"], *means, *_comparison(row), f"{row['seconds']:.1f}", *rates, *notes])
    return headers, cells


def _comparison(row: dict[str, Any]) -> list[str]:
    if row["relative"] is None:
        return [NO_VALUE, NO_VALUE, NO_VALUE]
    users = f"{row['wins']:,} / {row['ties']:,} / {row['losses']:,}"
    if row["verdict"] == UNTESTED:
        return [_percent(row["relative"]), UNTESTED, users]
    mean, low, high = (_percent(row[name]) for name in ("relative", "relative_low", "relative_high"))
    return [f"{mean} [{low}, {high}]", NO_VALUE if row["p_holm"] is None else p_text(row["p_holm"]), users]


def pairwise_text(frame: pl.DataFrame, metrics: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells of a `tables.pairwise_table`: the first metric in full, difference and p of the others."""
    metric, others = metrics[0], metrics[1:]
    label = metric_label(metric)
    headers = ["row", "compared with", label, f"its {label}", "difference [95 %]", "p (Holm)", WIN_TIE_LOSS]
    headers += [f"{metric_label(other)}, p (Holm)" for other in others]
    cells = [
        [row["row"], row["against"], f"{row[metric]:.4f}", f"{row[f'{metric} against']:.4f}", *_comparison(row)]
        + [f"{_percent(row[f'{other} relative'])}, {_p_or_untested(row[f'{other} p_holm'])}" for other in others]
        for row in frame.iter_rows(named=True)
    ]
    return headers, cells


def compared_text(frame: pl.DataFrame, baseline: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells of the lines of one metric over all users in a `studies.run_comparison` frame."""
    headers = ["method", "seeds", metric_label(frame["metric"][0]), f"vs {baseline} [95 %]", "p (Holm)", "p", "verdict"]
    headers += [WIN_TIE_LOSS, "s / run"]
    with_notes = frame["notes"].is_not_null().any()
    headers += ["notes"] if with_notes else []
    cells = []
    for row in frame.iter_rows(named=True):
        difference, p_holm, users = _comparison(row)
        p = NO_VALUE if row["p"] is None else p_text(row["p"])
        verdict = VERDICT_TEXTS.get(row["verdict"], row["verdict"] or NO_VALUE)
        values = [_mean_text(row["mean"], row["sd"]), difference, p_holm, p, verdict, users, f"{row['seconds']:.1f}"]
        cells.append([row["method"], str(row["seeds"]), *values, *([row["notes"] or ""] if with_notes else [])])
    return headers, cells


def grouped_text(frame: pl.DataFrame, baseline: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells of the lines of one metric and grouping: a column for each group of users.

    The baseline has its means, the other methods the relative difference, its interval and a sign for the verdict.
    """
    groups = frame.select("group", "users").unique(maintain_order=True)
    headers = ["method", *(f"{name} ({users:,} users)" for name, users in groups.iter_rows())]
    cells: dict[str, list[str]] = {}
    for row in frame.iter_rows(named=True):
        own = _mean_text(row["mean"], None) if row["method"] == baseline else _comparison(row)[0]
        cells.setdefault(row["method"], []).append(own + SIGNS.get(row["verdict"], ""))
    return headers, [[name, *line] for name, line in cells.items()]


def _mean_text(mean: float, spread: float | None) -> str:
    return f"{mean:.4f}" if spread is None else f"{mean:.4f} ± {spread:.4f}"


def _p_or_untested(p: float | None) -> str:
    return UNTESTED if p is None else p_text(p)


def _percent(share: float) -> str:
    return NO_VALUE if math.isnan(share) else f"{share:+.1%}"


def summary_text(frame: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells of a `tables.summary_table`."""
    headers = ["sampler", "groups", "better", "not significant", "worse", "mean relative difference"]
    cells = [[str(cell) for cell in row[:-1]] + [_percent(row[-1])] for row in frame.iter_rows()]
    return headers, cells


def side_by_side(groups: Mapping[str, pl.DataFrame], metric: str) -> tuple[list[str], list[list[str]]]:
    """Return headers and cells with a line per method and a column per table: the mean and a sign for its verdict.

    groups: name of a dataset and backbone -> its `tables.comparison_table`, whose first metric is `metric`. Methods are
    in order of first appearance, with a dash where a table lacks one.
    """
    columns = {
        name: {row["row"]: f"{row[metric]:.4f}{SIGNS.get(row['verdict'], '')}" for row in frame.iter_rows(named=True)}
        for name, frame in groups.items()
    }
    methods = dict.fromkeys(method for cells in columns.values() for method in cells)
    lines = [[method, *(cells.get(method, NO_VALUE) for cells in columns.values())] for method in methods]
    return ["sampler", *groups], lines


def markdown(headers: list[str], cells: list[list[str]]) -> str:
    """Return a Markdown table; bars and line breaks in cells are escaped."""
    lines = [headers, ["---"] * len(headers), *cells]
    escaped = [[" ".join(text.split()).replace("|", "\\|") for text in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped) + "\n"


def latex(frame: pl.DataFrame, metrics: tuple[str, ...], baseline: str) -> str:
    """Return a `tables.comparison_table` as a LaTeX tabular with a note; it needs the package booktabs.

    The best mean of a metric is bold, as are means that print the same. A star or a dagger marks a mean that is
    significantly better or worse than the baseline's. Use it in a table environment with caption and label. The
    document must support the non-ASCII characters in names.
    """
    headers, cells = comparison_text(frame, metrics, baseline)
    lines = [_escape_line(line) for line in cells]
    for place, metric in enumerate(metrics, start=1):
        verdicts = frame["verdict" if place == 1 else f"{metric} verdict"]
        best = f"{max(frame[metric]):.4f}"
        for line, mean, sd, verdict in zip(lines, frame[metric], frame[f"{metric} sd"], verdicts, strict=True):
            shown = rf"\textbf{{{mean:.4f}}}" if f"{mean:.4f}" == best else f"{mean:.4f}"
            spread = "" if sd is None else rf" $\pm$ {sd:.4f}"
            line[place] = f"{shown}{spread}{MARKS.get(verdict, '')}"
    head, *body = (" & ".join(line) + r" \\" for line in [map(escape, headers), *lines])
    start = rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}"
    table = [start, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(table) + "\n" + _note(baseline, with_controls=CONTROL in frame["verdict"].to_list())


def _note(baseline: str, *, with_controls: bool) -> str:
    sentences = [
        r"Mean $\pm$ standard deviation over seeds; best mean in bold.",
        rf"{MARKS['better']} better, {MARKS['worse']} worse than {escape(baseline)} at 5\,\%, users and seeds resampled",
        f"together, Holm over the rows of this table{' without controls' if with_controls else ''} for each metric.",
        "Won, tied, lost: users whose mean over seeds is higher, equal, lower than with it.",
    ]
    return "\n".join([r"\par\smallskip", r"{\footnotesize", *sentences, r"\par}"]) + "\n"


def _escape_line(line: list[str]) -> list[str]:
    """Escape a name and its values; the sign of a number becomes a mathematical one."""
    name, *rest = map(escape, line)
    return [name, *(re.sub(r"(?<!\w)[+-](?=\d)", r"$\g<0>$", cell) for cell in rest)]


def escape(text: str) -> str:
    """Return LaTeX that prints a text; white space becomes single spaces and control characters are removed."""
    printable = "".join(character for character in text if character.isprintable() or character.isspace())
    escaped = "".join(ESCAPES.get(character, character) for character in " ".join(printable.split()))
    return re.sub("-(?=-)", "-{}", escaped)  # LaTeX would print two hyphens as a dash
