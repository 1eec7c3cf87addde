"""The settings that a search found, as `best.yaml`: settings, value and budget of every split, model and row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import yaml
from pydantic import Field

from hardneg import artifacts, pipeline, storage
from hardneg.config import Config, parse_config, read_yaml
from hardneg.errors import ConfigError, DamagedError, HardnegError
from hardneg.studies.cells import Cell, with_settings
from hardneg.studies.spec import Choices, Range, Scalar, Space

NAME = "best.yaml"
HEADERS = ["split", "model", "row", "trials", "failed", "validation", "as given", "settings found"]


class BestTrial(Config):
    """The best trial of one split x model x row."""

    settings: dict[str, Scalar]
    metric: str
    value: float
    """Value on validation pairs."""
    default_value: float | None
    """Value of the settings as given, the first trial; None where that failed."""
    trial: int
    """Its number, from 0."""
    trials: int
    """The budget."""
    failed: int
    """Number of trials without a value."""
    made_from: dict[str, str]
    """Hashes of the train and validation pairs."""
    made_with: dict[str, str] = Field(default_factory=dict)
    """Hashes of the search's own negatives, suspects and trees, for the record: a study has its own."""
    space: Space

    @property
    def cells(self) -> list[str]:
        """Cells of its table line after split, model and row."""
        default = "–" if self.default_value is None else f"{self.default_value:.4f}"
        settings = settings_text(self.settings) + ("" if self.trial else " (as given)")
        return [str(self.trials), str(self.failed), f"{self.metric} {self.value:.4f}", default, settings]


class TunedSettings(Config):
    """The whole file."""

    search: str
    seed: int
    best: dict[str, dict[str, dict[str, BestTrial]]]
    """Split -> model -> row."""

    @property
    def by_row(self) -> dict[tuple[str, str, str], BestTrial]:
        """(split, model, row) -> best trial."""
        return {
            (split, model, row): trial
            for split, models in self.best.items()
            for model, rows in models.items()
            for row, trial in rows.items()
        }

    def applied(self, cells: list[Cell], folders: Mapping[str, Path]) -> tuple[list[Cell], list[str]]:
        """Return the cells with the settings found for them, and the problems.

        Problems: cells without any, unequal budgets, and settings found on another split than the folder of that name,
        whose validation pairs may be test pairs here.
        """
        tuned, by_row, search = [], self.by_row, f"search {self.search!r}"
        tables = {path[:2] for path in by_row}
        missing = [cell.searched for cell in cells if cell.searched not in by_row]
        places = dict.fromkeys(path if path[:2] in tables else path[:2] for path in missing)  # whole tables, or rows
        problems = [f"tuned: {search} has nothing for {' / '.join(path)}; search that, too" for path in places]
        for cell in cells:
            trial, config, folder = by_row.get(cell.searched), cell.config, folders[cell.split]
            if trial is not None:
                with suppress(HardnegError):  # no split folder: another problem
                    if trial.made_from != pipeline.run_inputs(folder):
                        found = f"{search} found the settings of {cell.name} on another split than {folder}"
                        problems.append(f"tuned: {found}; search on this one")
                try:
                    config = with_settings(config, trial.settings)
                except (ConfigError, KeyError) as error:
                    problems.append(f"tuned: the settings that {search} found for {cell.name} do not fit it ({error})")
            tuned.append(replace(cell, config=config))
        for table in dict.fromkeys(cell.table for cell in cells):
            used = {cell.searched for cell in cells if cell.table == table} & by_row.keys()
            budgets = sorted({by_row[path].trials for path in used})
            if len(budgets) > 1:
                found = f"rows of {' / '.join(table)} had {' and '.join(map(str, budgets))} trials"
                problems.append(f"tuned: {found}, expected as many each")
        return tuned, problems

    def table(
        self, places: Collection[tuple[str, str, str]] | None = None
    ) -> tuple[list[str], list[list[str]], list[str]]:
        """Return headers, cells, and one line for every space that was searched. places: (split, model, row) to include, all by default."""
        trials = {path: trial for path, trial in self.by_row.items() if places is None or path in places}
        rows_by_space: dict[str, list[str]] = {}
        for (_, _, row), trial in trials.items():
            rows_by_space.setdefault(space_text(trial.space), []).append(row)
        spaces = [f"Space of {', '.join(dict.fromkeys(rows))}: {text}." for text, rows in rows_by_space.items()]
        return HEADERS, [[*path, *trial.cells] for path, trial in trials.items()], spaces


def write_tuned_settings(folder: Path, tuned: TunedSettings) -> None:
    """Write best.yaml; its last line is the checksum of the others."""
    text = yaml.safe_dump(tuned.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode()
    storage.replace_file(folder / NAME, text + _checksum_line(text))


def _checksum_line(text: bytes) -> bytes:
    return f"# {artifacts.CHECKSUM} of the lines above: {sha256(text).hexdigest()}\n".encode()


def read_tuned_settings(folder: Path) -> TunedSettings:
    """Read best.yaml of a search folder. Raises DamagedError where it differs from its checksum."""
    path = folder / NAME
    if not path.is_file():
        raise ConfigError(f"{folder} holds no {NAME}, expected a folder made by `hardneg study search`; search first")
    *lines, last = path.read_bytes().splitlines(keepends=True) or [b""]
    if last != _checksum_line(b"".join(lines)) and not artifacts.is_trusting():
        raise DamagedError(f"{path} was changed or damaged after it was written; search again, or read it with --trust")
    tuned: TunedSettings = parse_config(TunedSettings, read_yaml(path)[0], where=str(path))
    return tuned


def settings_text(settings: Mapping[str, Scalar]) -> str:
    """Return settings in one line."""
    texts = (
        f"{field} {value:.3g}" if isinstance(value, float) else f"{field} {value}" for field, value in settings.items()
    )
    return ", ".join(texts) or "nothing to search"


def space_text(space: Space) -> str:
    """Return a space in one line."""
    return "; ".join(f"{field} {_entry_text(entry)}" for field, entry in space.items()) or "nothing to search"


def _entry_text(entry: Choices | Range) -> str:
    if isinstance(entry, Choices):
        return "one of " + ", ".join(map(str, entry.choices))
    return f"{entry.low:g} to {entry.high:g}" + (", log" if entry.log else "")
