"""Figures that a study file asks for."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hardneg.config import Config

SettingName = Annotated[str, Field(pattern=r"^(fit|sampler|model|suspects)\.[a-z0-9_]+$")]
Axis = Literal[
    "method",
    "difference",
    "pairs",
    "llm",
    "epoch",
    "second",
    "train share",
    "noise",
    "item group",
    "user group",
    "seconds",
    "false negatives",
    "judge",
]
"""What a figure shows:

method             the metric of every line, of all models side by side
difference, pairs  relative differences from the baseline, or of `comparisons`
llm                the metric by the size of the language model; `series` says which rows are a line
epoch, second      learning curves on validation pairs
train share, noise the metric by the share of train pairs left, or of added false positives; splits with `noise`
item group         the metric by popularity of the held-out item
user group         the metric by history of the user
seconds            seconds of an epoch
false negatives    share of false negatives among sampled negatives, by epoch
judge              how well the suspects of each judge separate hidden train items from others; splits with `noise`
"""


class FigureSpec(Config):
    """One figure, with a chart for every split and model. A setting of `options` on x, or two, give a curve or a map."""

    x: Axis | SettingName
    y: SettingName | None = None
    """A second setting, for a map."""
    rows: tuple[str, ...] = ()
    """Rows or lines that are drawn; all by default."""
    series: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For llm: name of a curve -> its rows, one for each language model."""

    @model_validator(mode="after")
    def _require_fit(self) -> Self:
        """Refuse fields that the figure does not read."""
        if self.y is not None and "." not in self.x:
            raise ValueError(f"found y {self.y!r} for x {self.x!r}, expected a setting on both; leave y out")
        if bool(self.series) != (self.x == "llm"):
            raise ValueError("series are for x llm alone, which needs them: {grounded: [a row for each model]}")
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings on its axes."""
        return tuple(field for field in (self.x, self.y) if field is not None and "." in field)
