"""The HTML report: one file without external resources."""

from __future__ import annotations

from dataclasses import dataclass, field

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
class ShownProduct:
    """A product that a language model named for an item.

    item: title of the catalogue item that it was grounded to, "" for none. similarity: cosine with that item's title, or
    with the nearest title where no item matches; NaN where unknown. n_pairs: training pairs that took it as their
    negative. reason: why no pair may take it, "" if there is none. takers: user of some of these pairs, with the true
    probability that the user likes the item.
    """

    text: str
    item: str
    similarity: float
    n_pairs: int
    reason: str
    takers: list[tuple[str, float]]


@dataclass(frozen=True)
class ShownReply:
    """A reply of a language model about an item. prompt: (role, text) of each message. n_pairs: pairs of the item."""

    item: str
    prompt: list[tuple[str, str]]
    reply: str
    products: list[ShownProduct]
    n_pairs: int


@dataclass(frozen=True)
class Page:
    """Contents of the page as plain data.

    answers: (question, answer). headers, cells: the table. curves: see `plots.plot_learning_curves`. false_negatives:
    see `plots.plot_false_negatives`, may be empty. facts: (name, value) of the settings. replies, replied_by: examples
    of what a language model wrote, and which model it was.
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
    replies: list[ShownReply] = field(default_factory=list)
    replied_by: str = ""


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
