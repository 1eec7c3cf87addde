"""The page: one HTML file that needs no network."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from hardneg.report import plots


@dataclass(frozen=True)
class ShownPair:
    """A train item of a user, and what each row served against it: row name -> titles, part by part."""

    positive: str
    served: dict[str, list[str]]


@dataclass(frozen=True)
class ShownUser:
    """A user for people to look at. liked: title -> true like-probability, for every title shown as a negative."""

    user_id: str
    history: list[str]
    profile: str
    pairs: list[ShownPair]
    liked: dict[str, float]


@dataclass(frozen=True)
class Page:
    """Everything that the page shows, as plain data.

    answers: (question, answer) in words. headers, cells: the table. curves, served: frames for the plots (see there);
    served may be empty. facts: (name, value) about how it was made.
    """

    title: str
    lead: str
    answers: list[tuple[str, str]]
    headers: list[str]
    cells: list[list[str]]
    notes: list[str]
    curves: pl.DataFrame
    metric: str
    served: pl.DataFrame
    users: list[ShownUser]
    facts: list[tuple[str, str]]


def render(page: Page) -> str:
    """Return the HTML text."""
    loader = PackageLoader("hardneg.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(page=page, figure=_figure(page))


def _figure(page: Page) -> str:
    with_truth = not page.served.is_empty()
    figure, axes = plots.new_figure(2 if with_truth else 1)
    plots.plot_learning_curves(page.curves, page.metric, ax=axes[0])
    if with_truth:
        plots.plot_false_negatives(page.served, ax=axes[1])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return plots.as_svg(figure)
