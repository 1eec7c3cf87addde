"""Controls of other negatives: random vectors, or shuffled pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from hardneg import pipeline
from hardneg.sampling import mined
from hardneg.stage import Stage
from hardneg.studies.recipes import NameIn, NegativesRecipe, StageContext, StudyFile


class NegativesControl(NegativesRecipe):
    """Random vectors of the norms of other negatives, or other negatives with their pairs permuted."""

    method: Literal["random", "shuffled"]
    like: Annotated[str, NameIn("negatives", not_own_kind=True)]
    """A name under `negatives`."""
    seed: int = 0

    def problems(self, where: str, file: StudyFile) -> list[str]:
        problems, like = super().problems(where, file), file.grid.negatives.get(self.like)
        if like is not None and like.makes == mined.NEIGHBOURS:
            problems.append(f"{where}: like {self.like!r} is neighbours, which have no vectors; name negatives")
        return problems

    def stage(self, context: StageContext) -> Stage:
        is_random = self.method == "random"
        stage = pipeline.random_negatives_stage if is_random else pipeline.shuffled_negatives_stage
        return stage(context.split_dir, context.folders["like"], self.seed)
