"""What a study or a search is, as its YAML file says it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
)

from hardneg.config import Config
from hardneg.mining import RetrievalConfig
from hardneg.models import ModelConfig
from hardneg.pipeline import FusionConfig, SuspectsUse
from hardneg.sampling import SamplerConfig
from hardneg.sampling.item_neighbours import NeighbourSource
from hardneg.studies.dual_tree import SuspectsSpec, TreesSpec
from hardneg.studies.synthesized_spec import FromLabelsSpec, SynthesisedSpec
from hardneg.training import FitConfig

Scalar = bool | int | float | str
"""A value of one field."""
Name = Annotated[str, StringConstraints(pattern=r"[A-Za-z0-9]")]
"""What a line of a table, a split or a model is called; its letters and digits name folders."""
FolderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Metric = Annotated[str, StringConstraints(pattern=r"^(recall|ndcg|precision|hit_rate)@[1-9]\d*$")]
Setting = Annotated[str, StringConstraints(pattern=r"^(fit|sampler|model|suspects)\.[a-z0-9_]+$")]
"""A setting of a run by its place: fit.l2, sampler.candidates, model.hops, suspects.weight."""


def _folder_alone(value: object) -> object:
    return {"folder": value} if isinstance(value, str) else value


def _counted(value: object) -> object:
    if isinstance(value, list | tuple):
        return value
    if type(value) is int and value > 0:
        return tuple(range(value))
    raise ValueError(f"found {value!r}, expected how many, as 5, or a list of seeds")


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a value stands twice")
    return values


Values = Annotated[tuple[Scalar, ...], Field(min_length=1), AfterValidator(_distinct)]
"""Some values of one setting."""


class SplitSpec(Config):
    """A split folder; a path alone says the same. Paths count from the working directory."""

    folder: Path
    fit: FitConfig = FitConfig()
    """Training settings of this split; they go before those of the whole file."""
    truth: Path | None = None
    """The simulated dataset behind it, if any: what is served is then measured against its truth."""


class RetrievedSpec(Config):
    """Negatives by `hardneg mine --method retrieved`, profiles included."""

    method: Literal["retrieved"]
    options: RetrievalConfig = RetrievalConfig()
    encoder: str = "minilm"


class RandomSpec(Config):
    """The control: random vectors of the norms of other negatives."""

    method: Literal["random"]
    like: str
    """A name under `negatives`."""
    seed: int = 0


class ShuffledSpec(Config):
    """The control: other negatives, their pair rows permuted."""

    method: Literal["shuffled"]
    like: str
    """A name under `negatives`."""
    seed: int = 0


LikeSpec = RandomSpec | ShuffledSpec
"""Made from other negatives of the file."""


class NeighboursSpec(Config):
    """Neighbours of items by `hardneg neighbours`, for the sampler "semantic-mixing"."""

    method: Literal["neighbours"]
    by: NeighbourSource = "text"
    k: PositiveInt = 10
    encoder: str = "minilm"
    """Of text alone."""
    seed: NonNegativeInt = 0
    """Of random alone."""


class GivenSpec(Config):
    """Negatives, or neighbours, that stand already."""

    method: Literal["given"]
    folders: dict[str, Path]
    """Split -> folder."""


NegativesSpec = Annotated[
    RetrievedSpec | RandomSpec | ShuffledSpec | NeighboursSpec | SynthesisedSpec | FromLabelsSpec | GivenSpec,
    Field(discriminator="method"),
]


class RowSuspects(SuspectsUse):
    """Which suspects a row uses, and how."""

    name: str
    """A name under `suspects`."""

    @property
    def config(self) -> SuspectsUse:
        """As a run takes it."""
        return SuspectsUse.model_validate(self.model_dump(exclude={"name"}))


class Choices(Config):
    """One of these values."""

    choices: Values


class Range(Config):
    """Any value between two, evenly or evenly in its logarithm; whole numbers where the field is one."""

    low: float
    high: float
    log: bool = False


Space = dict[Setting, Choices | Range]


class FusionSpec(Config):
    """A second line of a row, "ROW + text": each of its runs fused with text, as `hardneg fuse` does with extractive
    profiles. The weight is chosen by the metric that chose the epoch."""

    encoder: str = "minilm"
    weights: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = FusionConfig().weights
    profile: Literal["profiles", "items"] = "profiles"
    centred: bool = True
    alone: bool = False
    """A third line, "text only": the cosine without the model. It trains nothing; every seed gives the same run."""

    def config(self, select: str) -> FusionConfig:
        """As the stage takes it."""
        return FusionConfig(weights=self.weights, profile=self.profile, centred=self.centred, select=select)


class RowSpec(Config):
    """A line of the tables to be."""

    sampler: SamplerConfig
    negatives: str | None = None
    """A name under `negatives`."""
    suspects: RowSuspects | None = None
    """As {name: rule, use: both}."""
    trees: str | None = None
    """A name under `trees`, for the sampler multi-view and for alpha_c and alpha_s of others."""
    tuned_as: Name | None = None
    """Study: take the settings that the search found for this row. A control has those of the row that it controls, so
    that it differs from it in one thing."""
    against: Name | None = None
    """Study: the row that it is held against as a control, where that is not the one that it is tuned as."""
    seeds: PositiveInt | None = None
    """Study: so many of the study's seeds, from the first on, where not all; controls may have fewer."""
    fit: FitConfig = FitConfig()
    """Training settings of this row; they go before those of the split and of the file."""
    splits: tuple[str, ...] | None = None
    """Only on these."""
    models: tuple[str, ...] | None = None
    """Only with these."""
    fusion: FusionSpec | None = None
    """Study: a second line, the runs of this one fused with text."""
    space: Space = Field(default_factory=dict)
    """Search: entries of this row alone, in place of those of the file."""


class Grid(Config):
    """Splits x models x rows: what a study and a search share."""

    name: FolderName
    splits: Annotated[dict[Name, Annotated[SplitSpec, BeforeValidator(_folder_alone)]], Field(min_length=1)]
    models: Annotated[dict[Name, ModelConfig], Field(min_length=1)]
    negatives: dict[Name, NegativesSpec] = Field(default_factory=dict)
    trees: dict[Name, TreesSpec] = Field(default_factory=dict)
    suspects: dict[Name, SuspectsSpec] = Field(default_factory=dict)
    rows: Annotated[dict[Name, RowSpec], Field(min_length=1)]
    fit: FitConfig = FitConfig()


class StudySpec(Grid):
    """What `hardneg study` runs."""

    options: dict[Setting, Values] = Field(default_factory=dict)
    """A grid over settings; every combination is a line of its own, named by it."""
    tuned: Path | None = None
    """A folder made by `hardneg search`: its best settings of each split x model x row are taken."""
    seeds: Annotated[
        tuple[NonNegativeInt, ...], Field(min_length=1), BeforeValidator(_counted), AfterValidator(_distinct)
    ] = tuple(range(5))
    """How many (5 means 0 to 4), or which. Differences are tested from three seeds on."""
    released_mask: str | None = None
    """A name under `suspects`: where it has a folder on the split, every run is scored a second time under the mask of DTL-NS's
    released code, for a table of its own that says so: all of them under that of the suspects from probability .5 on, whatever
    threshold a row has. Nothing is compared or chosen by it."""
    baseline: str
    """The row, or the line, that others are compared with. Of a row with several lines it is the first."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1), AfterValidator(_distinct)] = ("ndcg@20", "recall@20")
    """Columns of the tables; the first is tested."""
    comparisons: tuple[tuple[str, str], ...] = ()
    """Pairs of lines, or of rows, of which the first is held against the second, in one more table beside each, with a
    family of its own for Holm: [[semantic mixing + text, MixGCF + text]]."""


class SearchSpec(Grid):
    """What `hardneg search` runs."""

    trials: PositiveInt
    """For every split x model x row; the first is the settings as given."""
    space: Space = Field(default_factory=dict)
    """Setting -> where to look; each entry goes to the runs that have the setting."""
    first_trials: Literal["alike", "apart"] = "alike"
    """Of the trials before suggestions follow results, the first one apart: "alike" spreads the values of a setting evenly
    over its range, the same values for every row that has it in the same range; "apart" draws each row's by chance."""
    seed: NonNegativeInt = 100
    """Of every trial's run, and of the suggestions. A study's seeds are 0, 1, ..., so that none of its runs was itself
    chosen by its validation value."""


def applied(spec: Space, row: RowSpec) -> Space:
    """The space of one row: the file's, with the row's own entries in its place."""
    return {**spec, **row.space}
