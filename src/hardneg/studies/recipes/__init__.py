"""Recipes: entries of a study file that ask for an artifact which runs share on a split.

A recipe holds the settings of an entry, names what the artifact is made from, and returns the stage that makes it. A
further kind is a file beside these and a line in a `registry` below; a class outside the package is named as
`method: module:Class`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hardneg.data import Split
from hardneg.judging.suspects import KIND as SUSPECTS
from hardneg.judging.suspects import Suspects
from hardneg.pipeline import RunConfig, SuspectsConfig
from hardneg.plugins import PluginFamily, Registry
from hardneg.random import generator
from hardneg.sampling import ItemNeighbours, MinedNegatives, SemanticMixing, mined
from hardneg.stage import Stage
from hardneg.trees import PathCodes, Trees, trees_folder
from hardneg.types import Progress

if TYPE_CHECKING:
    from hardneg.studies.spec import Grid
    from hardneg.text import TextEncoder

VECTOR_SIZE = 384
"""Length of the vectors that stand in for negatives: that of MiniLM."""
TREE_DEPTH = 6
"""Levels of the path codes that stand in for trees, four children each."""


def slug(name: str) -> str:
    """Return a name as a folder name: lower case, with a dash for every other sign."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


@dataclass(frozen=True)
class NameIn:
    """Mark of a field that names an entry of a section, from which the artifact is made.

    not_own_kind: the entry may not come from the same recipe, as a control of a control would.
    """

    section: str
    not_own_kind: bool = False


@dataclass(frozen=True)
class StudyFile:
    """A study or search file while it is checked.

    grid: what could be parsed. names: section -> its names, those of entries with problems included. required_splits:
    splits whose folders must exist.
    """

    grid: Grid
    names: Mapping[str, frozenset[str]]
    required_splits: frozenset[str]

    def reference_problems(self, section: str, name: str | None) -> list[str]:
        """Return a problem if `name` is given and is no name of the section."""
        if name is None or name in self.names[section]:
            return []
        known = ", ".join(sorted(self.names[section])) or "none is named"
        return [f"found {section} {name!r}, expected a name under `{section}` ({known})"]


@dataclass(frozen=True)
class StageContext:
    """Materials of a stage on one split.

    folders: role of a dependency -> its finished folder. run_config: settings of a run of (model, row) on the split.
    open_encoder: opens an encoder by name. out: folder of the study.
    """

    split_dir: Path
    folders: Mapping[str, Path]
    run_config: Callable[[str, str], RunConfig]
    open_encoder: Callable[[str], TextEncoder]
    device: str = "cpu"
    progress: Progress | None = None
    out: Path = Path("out")


@dataclass(frozen=True)
class ReplyEstimate:
    """Language model replies that an artifact needs.

    key: equal for artifacts that share all their replies. tokens_per_second: None where it is unknown. money: US dollars,
    None without a price.
    """

    llm: str
    key: tuple[str, ...]
    calls: float
    prompt_tokens: float
    answer_tokens: float
    tokens_per_second: float | None
    money: float | None

    @property
    def hours(self) -> float | None:
        """Time of all calls."""
        if self.tokens_per_second is None:
            return None
        return (self.prompt_tokens + self.answer_tokens) / self.tokens_per_second / 3600


@dataclass(frozen=True)
class Entry:
    """A recipe under its name in a study; implied entries (profiles, labels, a run) are in no section of the file.

    split: the split on which the artifact and what it is made from are made, where that is not the one that reads it.
    """

    recipe: Recipe
    name: str = ""
    split: str | None = None

    @property
    def folder_name(self) -> str:
        """Name of the folder among those that a split shares."""
        return f"{self.recipe.section}-{slug(self.name)}" if self.name else self.recipe.section

    @property
    def title(self) -> str:
        """Name in messages."""
        return f"{self.recipe.section} {self.name!r}" if self.name else self.recipe.section

    def dependencies(self, grid: Grid) -> dict[str, Entry]:
        """Return role -> entry of everything that the artifact is made from."""
        entries = self.recipe.dependencies(self.name, grid)
        return {role: replace(entry, split=entry.split or self.split) for role, entry in entries.items()}

    def with_dependencies(self, grid: Grid) -> Iterator[Entry]:
        """Yield the entries that this one is made from, directly or not, each before those made from it, and this one."""
        visited = set[
            tuple[str | None, str]
        ]()  # entries may name each other in a circle, which is a problem of the file

        def walk(entry: Entry) -> Iterator[Entry]:
            if (entry.split, entry.folder_name) not in visited:
                visited.add((entry.split, entry.folder_name))
                for dependency in entry.dependencies(grid).values():
                    yield from walk(dependency)
                yield entry

        yield from walk(self)

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        """Return why the artifact, or what it is made from, cannot be made on a split; names of no split are another check's."""
        parts = [(part, part.split or split) for part in self.with_dependencies(grid)]
        return [text for part, on in parts if on in grid.splits for text in part.recipe.problems_on(on, grid)]


class Recipe(PluginFamily):
    """Base of recipes: settings of one kind of artifact, and how it is made.

    An artifact is made from the entries that its fields name (`NameIn`) and from the recipes that its fields hold; the
    role of such a dependency is the name of the field. Families are found by `method`. Only `stage` has to be defined.
    """

    tag: ClassVar[str] = "method"
    section: ClassVar[str]
    """The section of the file, or, for an implied entry, the word that its folder begins with."""
    makes: ClassVar[str | None] = None
    """Kind of the artifact, where that follows from the recipe."""
    exists: ClassVar[bool] = False
    """True where the artifact exists already, and is never made."""

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the mapping of an entry with its method, which existing folders may leave out."""
        return {"method": "given", **values} if "folders" in values else values

    @property
    def implied(self) -> Entry:
        """The entry of a recipe that another one holds."""
        return Entry(self)

    def dependencies(self, name: str, grid: Grid) -> dict[str, Entry]:
        """Return role -> entry of everything that the artifact is made from. name: that of this entry."""
        entries = {field: grid.entry(reference.section, value) for field, reference, value in self._references()}
        entries |= {field: recipe.implied for field, recipe in self._parts()}
        return {role: entry for role, entry in entries.items() if entry is not None}

    def problems(self, file: StudyFile) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        problems = []
        for field, reference, name in self._references():
            problems += file.reference_problems(reference.section, name)
            entry = file.grid.entry(reference.section, name)
            if reference.not_own_kind and entry is not None and isinstance(entry.recipe, type(self)):
                problems.append(f"{field} {name!r} is {getattr(entry.recipe, self.tag)} itself; name what that is like")
        return problems + [f"{field}: {text}" for field, part in self._parts() for text in part.problems(file)]

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        """Return why the artifact cannot be made on a split; dependencies have problems of their own."""
        return []

    def existing_folder(self, split: str) -> Path | None:
        """Return the folder of an artifact that exists already."""
        return None

    def stage(self, context: StageContext) -> Stage:
        """Return the stage that makes the artifact; its dependencies are finished by then."""
        raise NotImplementedError

    def estimate_replies(self, context: StageContext) -> ReplyEstimate | None:
        """Return what the artifact needs of a language model; None where it needs none."""
        return None

    def stand_in(self, split: Split, config: RunConfig) -> Any:
        """Return an object as costly to train with as the artifact, for estimates before that is made."""
        raise NotImplementedError

    def estimate_seconds(self, split: Split, device: str) -> float | None:
        """Estimate the seconds of making the artifact, from a moment of the work; None where they are not estimated."""
        return None

    def _references(self) -> Iterator[tuple[str, NameIn, str | None]]:
        for field, info in type(self).model_fields.items():
            for mark in info.metadata:
                if isinstance(mark, NameIn):
                    yield field, mark, getattr(self, field)

    def _parts(self) -> Iterator[tuple[str, Recipe]]:
        for field in type(self).model_fields:
            if isinstance(part := getattr(self, field), Recipe):
                yield field, part


class NegativesRecipe(Recipe):
    """A recipe of the section `negatives`: what a sampler reads besides train pairs."""

    section: ClassVar[str] = "negatives"
    makes: ClassVar[str | None] = mined.KIND
    registry: ClassVar[Registry] = Registry(
        "method of negatives",
        "hardneg.negatives_recipes",
        {
            "retrieved": "hardneg.studies.recipes.negatives:Retrieved",
            "generated": "hardneg.studies.recipes.generated:Generated",
            "random": "hardneg.studies.recipes.negatives:NegativesControl",
            "shuffled": "hardneg.studies.recipes.negatives:NegativesControl",
            "neighbours": "hardneg.studies.recipes.negatives:Neighbours",
            "synthesised": "hardneg.studies.recipes.negatives:Synthesized",
            "positive": "hardneg.studies.recipes.negatives:LabelsControl",
            "labels": "hardneg.studies.recipes.negatives:LabelsControl",
            "given": "hardneg.studies.recipes.given:GivenNegatives",
        },
    )
    method: str = ""

    def stand_in(self, split: Split, config: RunConfig) -> MinedNegatives | ItemNeighbours:
        if isinstance(config.sampler, SemanticMixing):
            shape = split.train.n_items, config.sampler.neighbours
            return ItemNeighbours(generator(0, "stand-in").integers(shape[0], size=shape), "stand-in")
        vectors = np.broadcast_to(np.float16(1.0), (len(split.train), VECTOR_SIZE))
        return MinedNegatives(np.full((len(split.train), 1), -1), vectors, "stand-in")


class ProfilesRecipe(Recipe):
    """Profiles of items and users, which other recipes and late fusion hold; extractive where no method is named."""

    section: ClassVar[str] = "profiles"
    registry: ClassVar[Registry] = Registry(
        "method of profiles",
        "hardneg.profiles_recipes",
        {
            "extractive": "hardneg.studies.recipes.profiles:ExtractiveProfiles",
            "shuffled": "hardneg.studies.recipes.profiles:ShuffledProfiles",
            "generated": "hardneg.studies.recipes.generated:GeneratedProfiles",
        },
    )
    method: str = ""

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"method": "extractive", **super().complete(values)}


class TreesRecipe(Recipe):
    """A recipe of the section `trees`: two item trees."""

    section: ClassVar[str] = "trees"
    makes: ClassVar[str | None] = trees_folder.KIND
    registry: ClassVar[Registry] = Registry(
        "method of trees",
        "hardneg.trees_recipes",
        {
            "built": "hardneg.studies.recipes.dual_tree:BuiltTrees",
            "shuffled": "hardneg.studies.recipes.dual_tree:TreesControl",
            "random": "hardneg.studies.recipes.dual_tree:TreesControl",
            "given": "hardneg.studies.recipes.given:GivenTrees",
        },
    )
    method: str = ""

    def stand_in(self, split: Split, config: RunConfig) -> Trees:
        return stand_in_trees(split.train.n_items)

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"method": "built", **super().complete(values)}


def stand_in_trees(n_items: int) -> Trees:
    """Return random path codes."""
    shape = n_items, TREE_DEPTH
    codes = [PathCodes(generator(0, f"stand-in {n}").integers(4, size=shape, dtype=np.int16)) for n in range(2)]
    return Trees(codes[0], codes[1], "stand-in")


class SuspectsRecipe(Recipe):
    """A recipe of the section `suspects`: candidates that a judge labels as false negatives."""

    section: ClassVar[str] = "suspects"
    makes: ClassVar[str | None] = SUSPECTS
    registry: ClassVar[Registry] = Registry(
        "method of suspects",
        "hardneg.suspects_recipes",
        {
            "dual-tree": "hardneg.studies.recipes.dual_tree:IdentifiedSuspects",
            "given": "hardneg.studies.recipes.given:GivenSuspects",
        },
    )
    method: str = ""

    def stand_in(self, split: Split, config: RunConfig) -> Suspects:
        train, n = split.train, SuspectsConfig().candidates  # all candidates: the most there can be
        users = np.repeat(np.flatnonzero(train.counts), n)
        items = generator(0, "stand-in").integers(train.n_items, size=len(users))
        free = ~train.contains(users, items)
        _, firsts = np.unique(users[free] * train.n_items + items[free], return_index=True)
        return Suspects(users[free][firsts], items[free][firsts], np.ones(len(firsts)), "stand-in")
