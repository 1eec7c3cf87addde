"""Cells of a grid: one split, one model, one line of its table, and the settings these amount to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from hardneg.config import validate_config
from hardneg.errors import ConfigError
from hardneg.models import ModelConfig
from hardneg.pipeline import RunConfig, SuspectsUse
from hardneg.pipeline.suspect_use import POSITIVES_ONLY
from hardneg.studies.spec import FusionSpec, Grid, RowSpec, Scalar, SplitSpec
from hardneg.training import FitConfig

TEXT_ONLY = "text only"
"""The line of a row's texts without its model."""


@dataclass(frozen=True)
class Cell:
    """One line of one table before seeds.

    options: settings that tell it from other lines of its row. negatives, suspects, trees: names of the grid, where it needs some.
    fusion: where its runs are those of another cell, of the same row, fused with text; alone: or text without them.
    tuned_as: the row of a search whose settings it takes, its own by default. against: the row that it is a control of.
    """

    split: str
    model: str
    row: str
    config: RunConfig
    negatives: str | None = None
    fusion: FusionSpec | None = None
    options: tuple[tuple[str, Scalar], ...] = ()
    alone: bool = False
    tuned_as: str | None = None
    suspects: str | None = None
    trees: str | None = None
    against: str | None = None

    @property
    def searched(self) -> tuple[str, str, str]:
        """Where a search keeps its settings: split, model, row."""
        return self.split, self.model, self.tuned_as or self.row

    @property
    def line(self) -> str:
        """Its name in the table: "DNS, l2 0.01"."""
        if self.alone:
            return TEXT_ONLY
        return self.trained if self.fusion is None else f"{self.trained} + text"

    @property
    def trained(self) -> str:
        """The line whose runs are trained: its own, or the one that it is fused from."""
        return ", ".join([self.row, *(f"{field.partition('.')[2]} {value}" for field, value in self.options)])

    @property
    def name(self) -> str:
        """Its name in the study."""
        return f"{self.split} / {self.model} / {self.line}"


def cells_of(grid: Grid) -> list[Cell]:
    """One cell for every split x model x row that the file asks for, in its order."""
    return [
        Cell(
            split,
            model,
            name,
            RunConfig(
                model=backbone,
                sampler=row.sampler,
                fit=fit_of(grid, given, row),
                suspects=None if row.suspects is None else row.suspects.config,
            ),
            row.negatives,
            suspects=None if row.suspects is None else row.suspects.name,
            tuned_as=row.tuned_as,
            trees=row.trees,
            against=row.against or row.tuned_as,
        )
        for (split, given), (model, backbone), (name, row) in _combinations(grid)
    ]


def _combinations(
    grid: Grid,
) -> Iterator[tuple[tuple[str, SplitSpec], tuple[str, ModelConfig], tuple[str, RowSpec]]]:
    for split, model, row in product(grid.splits.items(), grid.models.items(), grid.rows.items()):
        on_split = row[1].splits is None or split[0] in row[1].splits
        with_model = row[1].models is None or model[0] in row[1].models
        if on_split and with_model:
            yield split, model, row


def fit_of(grid: Grid, split: SplitSpec, row: RowSpec) -> FitConfig:
    """Training settings: the file's, then the split's, then the row's."""
    given: dict[str, object] = {}
    for fit in (grid.fit, split.fit, row.fit):
        given |= fit.model_dump(exclude_unset=True)
    return FitConfig.model_validate(given)


def with_options(cells: list[Cell], options: Mapping[str, tuple[Scalar, ...]]) -> list[Cell]:
    """Every cell once for each combination of the options that it has."""
    found = []
    for cell in cells:
        own = [[(field, value) for value in values] for field, values in options.items() if has(cell.config, field)]
        for chosen in product(*own):
            found.append(replace(cell, options=chosen, config=changed(cell.config, dict(chosen))))
    return found


def with_fusion(cells: list[Cell], grid: Grid) -> list[Cell]:
    """After every cell whose row asks for it, the one that is fused from it; after a row's first also text alone."""
    found, with_text = [], set[tuple[str, str, str]]()
    for cell in cells:
        fusion, place = grid.rows[cell.row].fusion, (cell.split, cell.model, cell.row)
        found += [cell] if fusion is None else [cell, replace(cell, fusion=fusion)]
        if fusion is not None and fusion.alone and place not in with_text:
            bare = replace(cell, options=(), negatives=None, suspects=None, trees=None)
            found.append(replace(bare, fusion=fusion, alone=True))
            with_text.add(place)
    return found


def has(config: RunConfig, field: str) -> bool:
    """True where a run has the setting "fit.l2", "sampler.candidates", ...; the kind of a thing is no setting of it, nor
    is what only positives have one of suspects that are none."""
    part, _, name = field.partition(".")
    found = getattr(config, part)
    if isinstance(found, SuspectsUse) and not found.trains and name in POSITIVES_ONLY:
        return False
    return found is not None and name not in ("kind", "seed") and name in type(found).model_fields


def setting(config: RunConfig, field: str) -> Scalar:
    """The value of a setting."""
    part, _, name = field.partition(".")
    value: Scalar = getattr(getattr(config, part), name)
    return value


def changed(config: RunConfig, settings: Mapping[str, Scalar]) -> RunConfig:
    """The run with other settings; ConfigError where a value is out of question."""
    values = config.model_dump()
    for field, value in settings.items():
        part, _, name = field.partition(".")
        values[part][name] = value
    found, problems = validate_config(RunConfig, values)
    if problems:
        said = "; ".join(f"{_named(values, place)}: {message}" for place, message in problems)
        raise ConfigError(said)
    made: RunConfig = found
    return made


def _named(values: dict[str, dict[str, object]], place: tuple[int | str, ...]) -> str:
    """A setting and its value, or a part of the run that does not fit as a whole."""
    part, name = str(place[0]), str(place[-1])
    return part if len(place) == 1 else f"{part}.{name} {values[part].get(name)!r}"
