"""The page of the demo."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from hardneg.report import figures, svg
from hardneg.report.page import PageTable, render_template


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

    answers: (question, answer). headers, cells: the table. curves: row, seed, epoch, split, metric, value.
    false_negatives: row, seed, epoch, like_probability; may be empty. facts: (name, value) of the settings. replies, replied_by: examples
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


def render_demo(page: Page) -> str:
    """Return the HTML text."""
    names = page.curves["row"].unique(maintain_order=True).to_list()
    styles = {name: svg.style_of(number) for number, name in enumerate(names)}
    chosen = page.curves.filter((pl.col("split") == "valid") & (pl.col("metric") == page.metric))
    timed = chosen.with_columns(pl.lit(None, pl.Float64).alias("seconds"))
    drawn = figures.curve_figures(timed, page.metric, styles, "demo")
    if not page.false_negatives.is_empty():
        drawn.append(figures.rates_figure(page.false_negatives, "demo"))
    table = PageTable("Every sampler, on test pairs", page.headers, page.cells, page.notes)
    return render_template("demo.html.j2", page=page, table=table, figures=drawn)
