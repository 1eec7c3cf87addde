"""Recipes of the artifacts that a study file can ask for, one line each.

A further kind is a file beside these and a line below; a class outside the package is named as `method: module:Class`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from hardneg.data import Split
from hardneg.judging.suspects import KIND as SUSPECTS
from hardneg.judging.suspects import Suspects
from hardneg.pipeline import RunConfig, SuspectsConfig
from hardneg.plugins import Registry
from hardneg.random import generator
from hardneg.sampling import ItemNeighbours, MinedNegatives, SemanticMixing, mined
from hardneg.studies.recipes.recipe import Entry, NameIn, Recipe, StageContext, StudyFile
from hardneg.trees import PathCodes, Trees, trees_folder

VECTOR_SIZE = 384
"""Length of the vectors that stand in for negatives: that of MiniLM."""
TREE_DEPTH = 6
"""Levels of the path codes that stand in for trees, four children each."""


class NegativesRecipe(Recipe):
    """A recipe of the section `negatives`: what a sampler reads besides train pairs."""

    section: ClassVar[str] = "negatives"
    makes: ClassVar[str | None] = mined.KIND
    registry: ClassVar[Registry] = Registry(
        "method of negatives",
        "hardneg.negatives_recipes",
        {
            "retrieved": "hardneg.studies.recipes.retrieved:Retrieved",
            "random": "hardneg.studies.recipes.negatives_control:NegativesControl",
            "shuffled": "hardneg.studies.recipes.negatives_control:NegativesControl",
            "neighbours": "hardneg.studies.recipes.neighbours:Neighbours",
            "synthesised": "hardneg.studies.recipes.synthesized:Synthesized",
            "positive": "hardneg.studies.recipes.labels:LabelsControl",
            "labels": "hardneg.studies.recipes.labels:LabelsControl",
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


class TreesRecipe(Recipe):
    """A recipe of the section `trees`: two item trees."""

    section: ClassVar[str] = "trees"
    makes: ClassVar[str | None] = trees_folder.KIND
    registry: ClassVar[Registry] = Registry(
        "method of trees",
        "hardneg.trees_recipes",
        {
            "built": "hardneg.studies.recipes.built_trees:BuiltTrees",
            "shuffled": "hardneg.studies.recipes.trees_control:TreesControl",
            "random": "hardneg.studies.recipes.trees_control:TreesControl",
            "given": "hardneg.studies.recipes.given:GivenTrees",
        },
    )
    method: str = ""

    def stand_in(self, split: Split, config: RunConfig) -> Trees:
        shape = split.train.n_items, TREE_DEPTH
        codes = [PathCodes(generator(0, f"stand-in {n}").integers(4, size=shape, dtype=np.int16)) for n in range(2)]
        return Trees(codes[0], codes[1], "stand-in")

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"method": "built", **super().complete(values)}


class SuspectsRecipe(Recipe):
    """A recipe of the section `suspects`: candidates that a judge labels as false negatives."""

    section: ClassVar[str] = "suspects"
    makes: ClassVar[str | None] = SUSPECTS
    registry: ClassVar[Registry] = Registry(
        "method of suspects",
        "hardneg.suspects_recipes",
        {
            "dual-tree": "hardneg.studies.recipes.identified_suspects:IdentifiedSuspects",
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


__all__ = [
    "Entry",
    "NameIn",
    "NegativesRecipe",
    "Recipe",
    "StageContext",
    "StudyFile",
    "SuspectsRecipe",
    "TreesRecipe",
]
