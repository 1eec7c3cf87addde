"""The HTML report: one file without external resources."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from hardneg.report import plots


@dataclass(frozen=True)
class ShownPair:
    """A train item of a user with its sampled negatives: row name -> titles."""

    positive: str
    sampled: dict[str, list[str]]


@dataclass(frozen=True)
class ShownUser:
    """An example user. like_probabilities: title -> true like-probability, for every negative."""

    user_id: str
    history: list[str]
    profile: str
    pairs: list[ShownPair]
    like_probabilities: dict[str, float]


@dataclass(frozen=True)
class Page:
    """Contents of the page as plain data.

    answers: (question, answer). headers, cells: the table. curves: see `plots.plot_learning_curves`. false_negatives:
    see `plots.plot_false_negatives`, may be empty. facts: (name, value) of the settings.
    """

    title: str
    lead: str
    answers: list[tuple[str, str]]
    headers: list[str]
    cells: list[list[str]]
    notes: list[str]
    curves: pl.DataFrame
    metric: str
    false_negatives: pl.DataFrame
    users: list[ShownUser]
    facts: list[tuple[str, str]]


def render(page: Page) -> str:
    """Return the HTML text."""
    with_truth = not page.false_negatives.is_empty()
    figure, axes = plots.new_figure(2 if with_truth else 1)
    plots.plot_learning_curves(page.curves, page.metric, ax=axes[0])
    if with_truth:
        plots.plot_false_negatives(page.false_negatives, ax=axes[1])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    loader = PackageLoader("hardneg.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(page=page, figure=plots.as_svg(figure))
