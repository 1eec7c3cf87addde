"""Cells of a grid: one split, one model, one line of its table, and the settings of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardneg.config import Config, validate_config
from hardneg.errors import ConfigError
from hardneg.pipeline import POPULARITY, FusionConfig, PopularityConfig, RerankConfig, RunConfig, SuspectsUse
from hardneg.studies.recipes import Entry
from hardneg.studies.spec import FusionSpec, RerankSpec, Scalar


@dataclass(frozen=True)
class Cell:
    """One line of one table, before seeds.

    entries: section -> artifact that its runs read. options: settings that distinguish it from other lines of its row.
    fusion: set where its runs are those of another cell of the row, fused with text; alone: or text without them.
    rerank: set where they are those of another cell, fused or not, with candidates judged by `judged` reranked.
    tuned_as: the row whose settings it takes from a search, its own by default. against: the row that it controls.
    popular: the most popular items, without any model.
    """

    split: str
    model: str
    row: str
    config: RunConfig
    entries: Mapping[str, Entry]
    fusion: FusionSpec | None = None
    options: tuple[tuple[str, Scalar], ...] = ()
    alone: bool = False
    rerank: RerankSpec | None = None
    judged: str = ""
    tuned_as: str | None = None
    against: str | None = None
    popular: bool = False

    @property
    def table(self) -> tuple[str, str]:
        """Its split and model."""
        return self.split, self.model

    @property
    def searched(self) -> tuple[str, str, str]:
        """Split, model and row under which a search stores its settings."""
        return self.split, self.model, self.tuned_as or self.row

    @property
    def line(self) -> str:
        """Its name in the table: "DNS, l2 0.01"."""
        if self.popular:
            return POPULARITY
        if self.alone:
            return f"{self.text_label} only"  # a row's texts without its model
        return self.base_line if self.rerank is None else f"{self.base_line} + {self.judged}"

    @property
    def base_line(self) -> str:
        """The line that is reranked: the trained one, or that fused with text; its own where it is not reranked."""
        return self.trained_line if self.fusion is None else f"{self.trained_line} + {self.text_label}"

    @property
    def text_label(self) -> str:
        """Label of the texts that are fused with the model; empty without fusion."""
        return "" if self.fusion is None else self.fusion.label

    @property
    def source_line(self) -> str | None:
        """The line whose runs are fused or reranked; None where its runs read no other."""
        if self.rerank is not None:
            return self.base_line
        return None if self.fusion is None or self.alone else self.trained_line

    @property
    def trains(self) -> bool:
        """True where its runs are trained by the loop."""
        return self.fusion is None and self.rerank is None and not self.popular and self.config.baseline is None

    @property
    def untrained(self) -> FusionConfig | RerankConfig | PopularityConfig | None:
        """Settings of the stage where nothing is trained, else None."""
        if self.popular:
            return PopularityConfig(select=self.config.fit.select)
        if self.rerank is not None:
            return self.rerank.config
        return None if self.fusion is None else self.fusion.config(self.config.fit.select)

    @property
    def trained_line(self) -> str:
        """The line whose runs are trained: its own, or the one that is fused."""
        return ", ".join([self.row, *(f"{field.partition('.')[2]} {value}" for field, value in self.options)])

    @property
    def name(self) -> str:
        """Its name in the study."""
        return f"{self.split} / {self.model} / {self.line}"


def has_setting(config: RunConfig, field: str) -> bool:
    """Return True where a run has a setting such as "fit.l2" or "sampler.candidates".

    The kind of a part and its seed are no settings; neither is what another use of suspects has.
    """
    *path, name = field.split(".")
    part: Any = config
    for step in path:
        part = getattr(part, step, None)
    if isinstance(part, SuspectsUse) and not part.has_setting(name):
        return False
    return isinstance(part, Config) and name not in ("kind", "seed") and name in type(part).model_fields


def get_setting(config: RunConfig, field: str) -> Scalar:
    """Return the value of a setting."""
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return value  # type: ignore[no-any-return]


def with_settings(config: RunConfig, settings: Mapping[str, Scalar]) -> RunConfig:
    """Return the settings of the run with some replaced. Raises ConfigError where a value is invalid."""
    values = config.model_dump()
    for field, value in settings.items():
        *path, name = field.split(".")
        part, changed_part = config, values
        for step in path:
            part = getattr(part, step)
            changed_part = changed_part.setdefault(step, part.model_dump())
        changed_part[name] = value
    changed: RunConfig
    changed, problems = validate_config(RunConfig, values)
    if problems:
        raise ConfigError("; ".join(f"{_setting_at(values, path)}: {message}" for path, message in problems))
    return changed


def _setting_at(values: dict[str, Any], path: tuple[int | str, ...]) -> str:
    """Return a setting with its value, or the name of a part that is invalid as a whole."""
    if len(path) == 1:
        return str(path[0])
    value: Any = values
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return f"{'.'.join(map(str, path))} {value!r}"
