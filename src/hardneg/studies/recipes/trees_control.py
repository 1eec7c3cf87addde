"""Controls of other trees: shuffled or random codes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import NonNegativeInt

from hardneg import pipeline
from hardneg.stage import Stage
from hardneg.studies.recipes import NameIn, StageContext, TreesRecipe


class TreesControl(TreesRecipe):
    """The codes of other trees handed out at random to other items, or random codes of equal shape."""

    method: Literal["shuffled", "random"]
    like: Annotated[str, NameIn("trees", not_own_kind=True)]
    """A name under `trees`."""
    seed: NonNegativeInt = 0

    def stage(self, context: StageContext) -> Stage:
        return pipeline.control_trees_stage(context.split_dir, context.folders["like"], self.method, self.seed)
