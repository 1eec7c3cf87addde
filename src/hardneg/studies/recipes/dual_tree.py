"""Artifacts of DTL-NS: item trees built from a run of the file, their controls, and suspects that a judge identifies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from hardneg import pipeline
from hardneg.config import PerRow, Seed
from hardneg.judging import JudgeConfig, PrefixRule, RandomLabels, RecordedLabels
from hardneg.judging.suspects import THRESHOLD, Threshold
from hardneg.pipeline import SuspectInputs, SuspectsConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import NameIn, StageContext, StudyFile, SuspectsRecipe, TreesRecipe
from hardneg.studies.recipes.implied import AuxiliaryRun
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


class TreesControl(TreesRecipe):
    """The codes of other trees handed out at random to other items, or random codes of equal shape."""

    method: Literal["shuffled", "random"]
    like: Annotated[str, NameIn("trees", not_own_kind=True)]
    """A name under `trees`."""
    seed: Seed = 0

    def stage(self, context: StageContext) -> Stage:
        return pipeline.control_trees_stage(context.split_dir, context.folders["like"], self.method, self.seed)


def _require_no_further_inputs(judge: JudgeConfig) -> JudgeConfig:
    if judge.queries_llm or isinstance(judge, RecordedLabels):
        raise ValueError(
            f"found judge {judge.kind!r}, expected one without an LLM or a file of labels; make the suspects with "
            "`hardneg suspects identify` and name their folders"
        )
    return judge


class IdentifiedSuspects(SuspectsRecipe):
    """Suspects by `hardneg suspects identify`."""

    method: Literal["dual-tree"] = "dual-tree"
    like: Annotated[str | None, NameIn("suspects")] = None
    """A name under `suspects`: judge random labels candidates as liked at its rate."""
    like_threshold: Threshold = THRESHOLD
    """Probability from which candidates count as liked in `like`: that of the rows whose control this is."""
    trees: Annotated[str | None, NameIn("trees")] = None
    """A name under `trees`, for judges that read path codes."""
    run: AuxiliaryRun
    """Its highest-scoring unobserved items are the candidates."""
    judge: Annotated[JudgeConfig, AfterValidator(_require_no_further_inputs)] = PrefixRule()
    candidates: PerRow = SuspectsConfig().candidates
    """Candidates of each user."""

    def problems(self, file: StudyFile) -> list[str]:
        problems, name = super().problems(file), self.like
        if self.judge.reads_trees and self.trees is None:
            problems.append(f"judge {self.judge.kind!r} needs trees; name some with `trees: NAME`")
        if not self.judge.reads_trees and self.trees is not None:
            problems.append(f"judge {self.judge.kind!r} uses no trees; leave out")
        if name is None:
            if "like_threshold" in self.model_fields_set:
                problems.append("found like_threshold without like; name suspects with `like: NAME`")
            return problems
        if not isinstance(self.judge, RandomLabels):
            problems.append(f"like is for judge 'random' alone, found {self.judge.kind!r}; leave it out")
        elif "rate" in self.judge.model_fields_set:
            problems.append(f"found both a rate and like {name!r}; give one")
        like = file.grid.suspects.get(name)
        if isinstance(like, IdentifiedSuspects) and like.like is not None:
            problems.append(f"like {name!r} has the rate of others itself; name the suspects that it is like")
        return problems

    def stage(self, context: StageContext) -> Stage:
        judge, like = self.judge, context.folders.get("like")
        if like is not None:
            rate = pipeline.suspect_rate(like, context.split_dir, self.like_threshold)
            judge = judge.model_copy(update={"rate": rate})
        inputs = SuspectInputs(context.folders["run"], context.folders.get("trees"), like=like)
        options = SuspectsConfig(judge=judge, candidates=self.candidates)
        return pipeline.suspects_stage(context.split_dir, inputs, options, context.progress)
