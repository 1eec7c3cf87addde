"""Item trees built from a run of the file."""

from __future__ import annotations

from typing import Literal

from hardneg import pipeline
from hardneg.stage import Stage
from hardneg.studies.recipes import StageContext, TreesRecipe
from hardneg.studies.recipes.auxiliary_run import AuxiliaryRun
from hardneg.trees import TreesConfig


class BuiltTrees(TreesRecipe):
    """Trees by `hardneg trees build --run`."""

    method: Literal["built"] = "built"
    run: AuxiliaryRun
    """The semantic tree is over its item embeddings."""
    options: TreesConfig = TreesConfig()

    def stage(self, context: StageContext) -> Stage:
        run_dir = context.folders["run"]
        return pipeline.trees_stage(context.split_dir, self.options, run=run_dir, progress=context.progress)
