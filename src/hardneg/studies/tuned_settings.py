"""What a search found, as `best.yaml`: for every split, model and row the settings, the value and the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import Field

from hardneg import artifacts, pipeline
from hardneg.config import Config, parse_config, read_yaml
from hardneg.errors import ConfigError, HardnegError
from hardneg.studies.experiment_cells import Cell, changed
from hardneg.studies.spec import Scalar, Space

NAME = "best.yaml"


class Found(Config):
    """The best trial of one split x model x row."""

    settings: dict[str, Scalar]
    metric: str
    value: float
    """On validation pairs."""
    default_value: float | None
    """Of the settings as given, the first trial; None where that failed."""
    trial: int
    """Its number, from 0."""
    trials: int
    """The budget."""
    failed: int
    """Trials without a value."""
    made_from: dict[str, str]
    """Hashes of the train and validation pairs that it was found on."""
    made_with: dict[str, str] = Field(default_factory=dict)
    """Hashes of the search's own negatives, suspects and trees, for the record: a study has its own."""
    space: Space


class Best(Config):
    """The whole file."""

    search: str
    seed: int
    best: dict[str, dict[str, dict[str, Found]]]
    """Split -> model -> row."""

    @property
    def fields(self) -> set[str]:
        """Every setting that was searched."""
        return {field for found in self.each.values() for field in found.settings}

    @property
    def each(self) -> dict[tuple[str, str, str], Found]:
        """(split, model, row) -> what was found."""
        return {
            (split, model, row): found
            for split, models in self.best.items()
            for model, rows in models.items()
            for row, found in rows.items()
        }

    def applied(self, cells: list[Cell], folders: Mapping[str, Path]) -> tuple[list[Cell], list[str]]:
        """The cells with the settings found for them; problems: cells without any, unequal budgets, and settings found
        on another split than the folder of that name, whose validation pairs may be this one's test pairs."""
        made, each = [], self.each
        problems = self._elsewhere(cells, folders) + self._missing(cells)
        for cell in cells:
            found = each.get(cell.searched)
            made.append(cell)
            if found is None:
                continue
            try:
                made[-1] = replace(cell, config=changed(cell.config, found.settings))
            except (ConfigError, KeyError) as error:
                problems.append(f"tuned: what search {self.search!r} found for {cell.name} does not fit it ({error})")
        return made, problems + self._unequal(cells)

    def _missing(self, cells: list[Cell]) -> list[str]:
        """Where it has nothing: whole tables in a word, single rows by name."""
        there = set(self.each)
        tables = {place[:2] for place in there}
        lacking = dict.fromkeys(cell.searched for cell in cells if cell.searched not in there)
        named = dict.fromkeys(place if place[:2] in tables else place[:2] for place in lacking)
        return [
            f"tuned: search {self.search!r} has nothing for {' / '.join(place)}; search that, too" for place in named
        ]

    def _elsewhere(self, cells: list[Cell], folders: Mapping[str, Path]) -> list[str]:
        problems, hashes = [], dict[str, dict[str, str]]()
        for cell in cells:
            found = self.each.get(cell.searched)
            try:
                inputs = hashes.setdefault(cell.split, {}) or pipeline.run_inputs(folders[cell.split])
            except HardnegError:
                continue  # no split folder: said elsewhere
            hashes[cell.split] = inputs
            if found is not None and found.made_from != inputs:
                problems.append(
                    f"tuned: search {self.search!r} found the settings of {cell.name} on another split than "
                    f"{folders[cell.split]}; search on this one"
                )
        return problems

    def _unequal(self, cells: list[Cell]) -> list[str]:
        budgets: dict[tuple[str, str], set[int]] = {}
        for (split, model, row), found in self.each.items():
            if any(cell.searched == (split, model, row) for cell in cells):
                budgets.setdefault((split, model), set()).add(found.trials)
        return [
            f"tuned: rows of {split} / {model} had {' and '.join(map(str, sorted(found)))} trials, expected as many each"
            for (split, model), found in budgets.items()
            if len(found) > 1
        ]


def write_best(folder: Path, best: Best) -> None:
    """Write best.yaml so that a person can read it."""
    text = yaml.safe_dump(best.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    artifacts.replace_file(folder / NAME, text.encode())


def read_best(folder: Path) -> Best:
    """Read what `hardneg search` wrote into its folder."""
    path = folder / NAME
    if not path.is_file():
        raise ConfigError(f"{folder} holds no {NAME}, expected a folder made by `hardneg search`; search first")
    best: Best = parse_config(Best, read_yaml(path)[0], where=str(path))
    return best
