"""Printers of the frames in `tables`: cells for people, Markdown, LaTeX."""

from __future__ import annotations

import math
import re
from typing import Any

import polars as pl

FALSE_NEGATIVE_HEADERS = {"false_negatives": "truly liked", "nearest": "nearest liked"}
"""Columns that need the truth: name in the frame -> header."""
NO_VALUE = "–"
"""Printed where there is no value."""
CONTROL = "control"
"""The verdict of a row that another test is for."""
WIN_TIE_LOSS = "users won / tied / lost"
MARKS = {"better": r"$^{\ast}$", "worse": r"$^{\dagger}$"}
"""Verdict -> what follows a mean in LaTeX; nothing where rows are not distinguishable."""
ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    # Read otherwise in the old font encoding, or as an option of the \\ or \midrule before the cell.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "*": "{*}",
    # Characters that the cells here use.
    "±": r"$\pm$",
    "–": r"\textendash{}",
}
"""Character -> the LaTeX that prints it."""


def metric_label(metric: str) -> str:
    """A metric as people write it: "ndcg@20" -> "nDCG@20"."""
    name, _, k = metric.partition("@")
    return {"ndcg": "nDCG", "hit_rate": "HitRate"}.get(name, name.capitalize()) + f"@{k}"


def p_text(p: float) -> str:
    """A p-value as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_text(frame: pl.DataFrame, metrics: tuple[str, ...], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of a `tables.comparison` for people; a dash where there is no value."""
    names = [metric_label(metric) for metric in metrics]
    known = [name for name in FALSE_NEGATIVE_HEADERS if frame[name].is_not_null().any()]  # on a simulated store alone
    headers = ["sampler", *names, f"{names[0]} vs {baseline} [95 %]", "p (Holm)", WIN_TIE_LOSS, "s / run"]
    headers += [FALSE_NEGATIVE_HEADERS[name] for name in known]
    cells = []
    for row in frame.iter_rows(named=True):
        means = [f"{row[m]:.4f} ± {row[f'{m} sd']:.4f}" for m in metrics]
        cells.append([row["row"], *means, *_against(row), f"{row['seconds']:.1f}", *_liked(row, known)])
    return headers, cells


def _against(row: dict[str, Any]) -> list[str]:
    if row["relative"] is None:
        return [NO_VALUE, NO_VALUE, NO_VALUE]
    middle, low, high = (_percent(row[name]) for name in ("relative", "relative_low", "relative_high"))
    users = f"{row['wins']:,} / {row['ties']:,} / {row['losses']:,}"
    return [f"{middle} [{low}, {high}]", NO_VALUE if row["p_holm"] is None else p_text(row["p_holm"]), users]


def pairwise_text(frame: pl.DataFrame, metrics: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of a `tables.paired` for people: the first metric whole, of every other one its difference and p."""
    metric, others = metrics[0], metrics[1:]
    headers = ["row", "against", metric_label(metric), "there", "difference [95 %]", "p (Holm)", WIN_TIE_LOSS]
    headers += [f"{metric_label(other)}, p (Holm)" for other in others]
    cells = [
        [row["row"], row["against"], f"{row[metric]:.4f}", f"{row[f'{metric} against']:.4f}", *_against(row)]
        + [f"{_percent(row[f'{other} relative'])}, {p_text(row[f'{other} p_holm'])}" for other in others]
        for row in frame.iter_rows(named=True)
    ]
    return headers, cells


def _percent(share: float) -> str:
    return NO_VALUE if math.isnan(share) else f"{share:+.1%}"


def _liked(row: dict[str, Any], names: list[str]) -> list[str]:
    return [NO_VALUE if row[name] is None else f"{row[name]:.1%}" for name in names]


def summary_text(frame: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of a `tables.summary` for people."""
    headers = ["sampler", "groups", "better", "not distinguishable", "worse", "mean relative difference"]
    cells = [[str(cell) for cell in row[:-1]] + [_percent(row[-1])] for row in frame.iter_rows()]
    return headers, cells


def markdown(headers: list[str], cells: list[list[str]]) -> str:
    """A Markdown table; a bar or a line break in a cell cannot end it."""
    lines = [headers, ["---"] * len(headers), *cells]
    return "\n".join("| " + " | ".join(map(_one_cell, line)) + " |" for line in lines) + "\n"


def _one_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def latex(frame: pl.DataFrame, metrics: tuple[str, ...], baseline: str) -> str:
    """A `tables.comparison` as a LaTeX tabular with a note under it; needs the package booktabs alone.

    The best mean of a metric is bold, all of them where several print alike. A star or a dagger follows a mean that is
    better or worse than the baseline's. Put it within a table environment, which gives caption and label. Characters
    beyond ASCII in names stay as they are, so the document must know them.
    """
    headers, cells = comparison_text(frame, metrics, baseline)
    lines = [_escaped(line) for line in cells]
    for place, metric in enumerate(metrics, start=1):
        verdicts = frame["verdict" if place == 1 else f"{metric} verdict"]
        best = f"{max(frame[metric]):.4f}"
        for line, mean, sd, verdict in zip(lines, frame[metric], frame[f"{metric} sd"], verdicts, strict=True):
            shown = rf"\textbf{{{mean:.4f}}}" if f"{mean:.4f}" == best else f"{mean:.4f}"
            line[place] = rf"{shown} $\pm$ {sd:.4f}{MARKS.get(verdict, '')}"
    with_controls = CONTROL in frame["verdict"].to_list()
    return _tabular([escape(header) for header in headers], lines) + _note(baseline, with_controls=with_controls)


def _note(baseline: str, *, with_controls: bool) -> str:
    sentences = [
        r"Mean $\pm$ standard deviation over seeds; best mean in bold.",
        rf"{MARKS['better']} better, {MARKS['worse']} worse than {escape(baseline)} at 5\,\%, users and seeds resampled",
        f"together, Holm over the rows of this table{' but controls' if with_controls else ''} for each metric.",
        "Won, tied, lost: users whose mean over seeds is higher, equal, lower than there.",
    ]
    return "\n".join([r"\par\smallskip", r"{\footnotesize", *sentences, r"\par}"]) + "\n"


def plain_latex(headers: list[str], cells: list[list[str]]) -> str:
    """Any table, `summary_text` for one, as a LaTeX tabular without marks; needs the package booktabs alone."""
    return _tabular([escape(header) for header in headers], [_escaped(line) for line in cells])


def _escaped(line: list[str]) -> list[str]:
    """A name and what is said of it; there a sign before a number is a sign, not a hyphen."""
    name, *rest = map(escape, line)
    return [name, *(re.sub(r"(?<!\w)[+-](?=\d)", r"$\g<0>$", cell) for cell in rest)]


def _tabular(headers: list[str], lines: list[list[str]]) -> str:
    """First column left, the others right. headers, lines: LaTeX already."""
    head, *body = (" & ".join(line) + r" \\" for line in [headers, *lines])
    start = rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}"
    return "\n".join([start, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escape(text: str) -> str:
    """Plain text as LaTeX that prints it; white space of any kind becomes single spaces, other controls vanish."""
    kept = "".join(character for character in text if character.isprintable() or character.isspace())
    escaped = "".join(ESCAPES.get(character, character) for character in " ".join(kept.split()))
    return re.sub("-(?=-)", "-{}", escaped)  # two hyphens are no dash
