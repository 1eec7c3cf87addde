"""The contents of a study file or a search file; `recipes` has the kinds of artifact that one can ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from hardneg.config import MAX_PER_ROW, Config, MetricName, PerRow, Seed
from hardneg.data.noise import NoiseConfig
from hardneg.models import BaselineConfig, ModelConfig, TextModelConfig
from hardneg.pipeline import FusionConfig, RerankConfig, SuspectsUse
from hardneg.sampling import SamplerConfig, Uniform
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.recipes import Entry, NegativesRecipe, ProfilesRecipe, Recipe, SuspectsRecipe, TreesRecipe
from hardneg.studies.recipes.profiles import ExtractiveProfiles
from hardneg.text.text_vectors import ItemSource
from hardneg.training import FitConfig

Scalar = bool | int | float | str
"""The value of one field."""
Name = Annotated[str, StringConstraints(pattern=r"[A-Za-z0-9]")]
"""Name of a table line, a split or a model; its letters and digits name folders."""
FolderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Setting = Annotated[str, StringConstraints(pattern=r"^(fit|sampler|model|suspects|baseline)(\.[a-z0-9_]+)+$")]
"""A setting of a run by its path: fit.l2, fit.loss.temperature, sampler.candidates, model.hops, suspects.weight."""
RECIPE_SECTIONS = ("negatives", "trees", "suspects")
"""Sections whose entries are recipes."""


def _split_from_folder(value: object) -> object:
    return {"folder": value} if isinstance(value, str | Path) else value


def _seeds_from_count(value: object) -> object:
    if isinstance(value, list | tuple):
        return value
    if type(value) is int and 0 < value <= MAX_PER_ROW:
        return tuple(range(value))
    raise ValueError(
        f"found {value!r}, expected a number of seeds such as 5, up to {MAX_PER_ROW:,}, or a list of seeds"
    )


def _require_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a value occurs twice")
    return values


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


Values = Annotated[tuple[Scalar, ...], Field(min_length=1), AfterValidator(_require_distinct)]
"""Values of one setting."""


class SplitSpec(Config):
    """A split folder; a path alone means the same. Relative paths start at the working directory."""

    folder: Path
    fit: FitConfig = FitConfig()
    """Training settings of this split; they take precedence over those of the whole file."""
    truth: Literal["held-out"] | Path | None = None
    """Simulated dataset of the split, if any: sampled negatives are then compared with its ground truth. "held-out"
    compares them with the held-out pairs, which changes nothing in training."""
    noise: NoiseConfig | None = None
    """Runs use the split with pairs added to train or hidden from it, as by `hardneg data add-noise`."""
    models: tuple[str, ...] | None = None
    """Only these models on this split."""


class RowSuspects(SuspectsUse):
    """The suspects that a row uses, and how."""

    name: str
    """A name under `suspects`."""


class Choices(Config):
    """One of several values."""

    choices: Values


class Range(Config):
    """Any value between two, uniform or log-uniform; integers where the field is an integer."""

    low: float
    high: float
    log: bool = False


Space = dict[Setting, Choices | Range]


class TextsSpec(Config):
    """Text vectors: what is encoded, and by which encoder."""

    encoder: str = "minilm"
    profiles: ProfilesRecipe = ExtractiveProfiles()
    """Profiles whose users are encoded, and whose items as well with items: profiles."""
    items: ItemSource = "texts"


class FusionSpec(TextsSpec):
    """Late fusion as a second line of a row, "ROW + text": each of its runs fused with text, as `hardneg fuse` does.

    With several of them, each is a line of its own. The weight is chosen by the metric that chose the epoch.
    """

    label: Name = "text"
    """Name of the line: "ROW + label", and "label only" where `alone` is set."""
    weights: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = FusionConfig().weights
    profile: Literal["profiles", "items"] = "profiles"
    """Vector of a user: the encoded profile, or the mean of the vectors of the user's train items."""
    centred: bool = True
    alone: bool = False
    """A further line, "text only": the cosine without the model. It trains nothing, so every seed gives the same run."""

    def config(self, select: str) -> FusionConfig:
        """Return the settings of the stage."""
        return FusionConfig(weights=self.weights, profile=self.profile, centred=self.centred, select=select)


def _names_from_one(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class RerankSpec(Config):
    """Reranking as further lines of a row, "ROW + NAME": each of its runs with judged candidates reranked.

    With `fusion` in the row, its fused runs are reranked as well: "ROW + text + NAME".
    """

    suspects: Annotated[
        tuple[Name, ...], Field(min_length=1), BeforeValidator(_names_from_one), AfterValidator(_require_distinct)
    ]
    """A name under `suspects`, or several; each is a line."""
    weights: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = RerankConfig().weights
    select: MetricName = RerankConfig().select
    """Validation metric that chooses the weight."""

    @property
    def config(self) -> RerankConfig:
        """Settings of the stage."""
        return RerankConfig(weights=self.weights, select=self.select)


class RowSpec(Config):
    """A method, and so a line of the tables."""

    sampler: SamplerConfig
    baseline: BaselineConfig | None = None
    """Such as {kind: ease, l2: 300}, in place of a sampler: nothing is trained, and the line is the same with every
    model. `models` names the tables that it is for; `seeds: 1` suits all but als."""
    model: ModelConfig | None = None
    """Such as {kind: kar}, in place of the model of the table, which becomes its `base` unless it names another."""
    texts: TextsSpec | None = None
    """Texts of a model that reads text, in place of those of the file."""
    negatives: str | None = None
    """A name under `negatives`."""
    suspects: RowSuspects | None = None
    """Such as {name: rule, use: both}."""
    trees: str | None = None
    """A name under `trees`, for sampler multi-view and for alpha_c and alpha_s of others."""
    tuned_as: Name | None = None
    """Study: take the settings that the search found for this row. A control takes those of the row that it controls, so
    that it differs from it in one thing."""
    against: Name | None = None
    """Study: the row that this one is a control of, where that is not `tuned_as`."""
    seeds: PositiveInt | None = None
    """Study: number of the study's seeds to use, from the first on; all by default. Controls may have fewer."""
    fit: FitConfig = FitConfig()
    """Training settings of this row; they take precedence over those of the split and of the file."""
    splits: tuple[str, ...] | None = None
    """Only on these splits."""
    models: tuple[str, ...] | None = None
    """Only with these models."""
    fusion: Annotated[tuple[FusionSpec, ...], BeforeValidator(_several)] = ()
    """Study: a second line, the runs of this row fused with text, or several such lines with labels."""
    rerank: RerankSpec | None = None
    """Study: further lines, the runs of this row with judged candidates reranked."""
    space: Space = Field(default_factory=dict)
    """Search: entries for this row alone, in place of those of the file."""

    @model_validator(mode="before")
    @classmethod
    def _fill_sampler(cls, values: Any) -> Any:
        """Fill in uniform, which stands for no sampler beside a baseline."""
        if isinstance(values, dict) and values.get("baseline") is not None:
            return {"sampler": Uniform(), **values}
        return values

    @model_validator(mode="after")
    def _require_baseline_alone(self) -> Self:
        others: dict[str, object] = {
            "sampler": self.sampler != Uniform(),
            "model": self.model,
            "negatives": self.negatives,
            "suspects": self.suspects,
        }
        others |= {"trees": self.trees, "rerank": self.rerank}
        if self.baseline is not None and (used := [name for name, value in others.items() if value]):
            raise ValueError(
                f"found {', '.join(used)} beside baseline {self.baseline.kind!r}, which uses none; leave out"
            )
        return self

    def model_with(self, backbone: ModelConfig) -> ModelConfig:
        """Return the model of the row's runs. backbone: that of the table."""
        if self.model is None:
            return backbone
        return self.model.on_top_of(backbone) if isinstance(self.model, TextModelConfig) else self.model

    def is_on(self, split: str) -> bool:
        """Return True where the row has a line on a split."""
        return self.splits is None or split in self.splits

    def is_with(self, model: str) -> bool:
        """Return True where the row has a line with a model."""
        return self.models is None or model in self.models


class Grid(Config):
    """Splits x models x rows: the part that a study and a search share."""

    name: FolderName
    splits: Annotated[dict[Name, Annotated[SplitSpec, BeforeValidator(_split_from_folder)]], Field(min_length=1)]
    models: Annotated[dict[Name, ModelConfig], Field(min_length=1)]
    negatives: dict[Name, NegativesRecipe] = Field(default_factory=dict)
    trees: dict[Name, TreesRecipe] = Field(default_factory=dict)
    suspects: dict[Name, SuspectsRecipe] = Field(default_factory=dict)
    rows: Annotated[dict[Name, RowSpec], Field(min_length=1)]
    fit: FitConfig = FitConfig()
    texts: TextsSpec = TextsSpec()
    """Texts of all models that read text; a row may have others."""

    def has_line(self, split: str, model: str, row: RowSpec) -> bool:
        """Return True where a row has a line on a split with a model."""
        models = self.splits[split].models
        return row.is_on(split) and row.is_with(model) and (models is None or model in models)

    def recipes(self, section: str) -> dict[str, Recipe]:
        """Return name -> recipe of a section."""
        recipes: dict[str, Recipe] = getattr(self, section)
        return recipes

    def entry(self, section: str, name: str | None) -> Entry | None:
        """Return an entry by its name; None without a name, or where the section lacks it."""
        recipe = None if name is None else self.recipes(section).get(name)
        return None if recipe is None or name is None else Entry(recipe, name)

    def row_entries(self, row: RowSpec) -> dict[str, Entry]:
        """Return section -> entry that a row names."""
        suspects = None if row.suspects is None else row.suspects.name
        names = {"negatives": row.negatives, "trees": row.trees, "suspects": suspects}
        entries = {section: self.entry(section, name) for section, name in names.items()}
        return {section: entry for section, entry in entries.items() if entry is not None}


class StudySpec(Grid):
    """Contents of a study file, which `hardneg study run` reads."""

    question: str = ""
    """The question that the study answers."""
    paper: str = ""
    """Paper and table or figure that it repeats."""
    options: dict[Setting, Values] = Field(default_factory=dict)
    """Setting -> values; every combination is a line of its own, named by it."""
    tuned: Path | None = None
    """A folder made by `hardneg study search`; the best settings of each split x model x row are used."""
    seeds: Annotated[
        tuple[Seed, ...],
        Field(min_length=1),
        BeforeValidator(_seeds_from_count),
        AfterValidator(_require_distinct),
    ] = tuple(range(5))
    """Number of seeds (5 means 0 to 4), or a list. Differences are tested from three seeds on."""
    released_mask: str | None = None
    """A name under `suspects`: every run is scored a second time under the mask of DTL-NS's released code, for a separate
    table. The mask has the suspects of probability .5 or more, whatever the threshold of a row. Nothing is compared or
    chosen by it. Splits without such suspects have no such table."""
    baseline: str
    """The row, or the line, that others are compared with. For a row with several lines it is the first."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1), AfterValidator(_require_distinct)] = (
        "ndcg@20",
        "recall@20",
    )
    """Columns of the tables; the first is tested."""
    popularity: bool = False
    """A further line, "popularity": the items with the most train pairs, the same for every user."""
    figures: tuple[FigureSpec, ...] = ()
    """Figures beside the tables, with a caption from their tests."""
    comparisons: tuple[tuple[str, str], ...] = ()
    """Pairs of lines, or of rows, to compare in one more table, whose Holm correction is its own:
    [[semantic mixing + text, MixGCF + text]]."""


class SearchSpec(Grid):
    """Contents of a search file, which `hardneg study search` reads."""

    trials: PerRow
    """Trials of every split x model x row; the first is the settings as given."""
    space: Space = Field(default_factory=dict)
    """Setting -> where to search; an entry applies to the runs that have the setting."""
    first_trials: Literal["alike", "apart"] = "alike"
    """Choice of the trials before suggestions follow results, the first one excepted. "alike" spreads the values of a
    setting evenly over its range, the same values for all rows; "apart" draws them for each row at random."""
    seed: Seed = 100
    """Seed of every trial's run and of the suggestions. The seeds of a study are 0, 1, ..., so that none of its runs was
    chosen by its own validation value."""

    def space_of(self, row: RowSpec) -> Space:
        """Return the space of a row: that of the file, with the row's own entries in its place."""
        return {**self.space, **row.space}
