"""Artifacts of DTL-NS: item trees built from a run of the file, their controls, and suspects that a judge identifies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from hardneg import artifacts, pipeline
from hardneg.config import PerRow, Seed
from hardneg.data import split as splits
from hardneg.judging import JudgeConfig, PrefixRule, RandomLabels, RecordedLabels
from hardneg.judging.suspects import THRESHOLD, Threshold
from hardneg.llm.session import Session
from hardneg.pipeline import SuspectInputs, SuspectsConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import (
    NameIn,
    ReplyEstimate,
    StageContext,
    StudyFile,
    SuspectsRecipe,
    TreesRecipe,
    stand_in_trees,
)
from hardneg.studies.recipes.implied import AuxiliaryRun, item_text_problems
from hardneg.studies.recipes.language_model import LanguageModelSettings
from hardneg.studies.spec import Grid
from hardneg.trees import TreesConfig

ACTIVITY = "judging with"


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


def _require_no_labels(judge: JudgeConfig) -> JudgeConfig:
    if isinstance(judge, RecordedLabels):
        raise ValueError(
            f"found judge {judge.kind!r}, expected one without a file of labels; make the suspects with "
            "`hardneg suspects identify` and name their folders"
        )
    return judge


class IdentifiedSuspects(SuspectsRecipe, LanguageModelSettings):
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
    judge: Annotated[JudgeConfig, AfterValidator(_require_no_labels)] = PrefixRule()
    candidates: PerRow = SuspectsConfig().candidates
    """Candidates of each user."""

    def problems(self, file: StudyFile) -> list[str]:
        problems, name = super().problems(file) + self._llm_problems(), self.like
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

    def _llm_problems(self) -> list[str]:
        kind = self.judge.kind
        if self.judge.queries_llm:
            missing = [f"judge {kind!r} needs a language model; name one with `llm: NAME`"] if self.llm is None else []
            return missing + self.llm_problems()
        unused = [name for name in LanguageModelSettings.model_fields if name in self.model_fields_set]
        return [f"judge {kind!r} queries no language model, found {', '.join(unused)}; leave out"] if unused else []

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid) if self.judge.queries_llm and not self.judge.reads_trees else []

    def stage(self, context: StageContext) -> Stage:
        """Return the stage."""
        if not self.judge.queries_llm:
            return self._stage(context)
        return self.stage_with_session(context, ACTIVITY, lambda session: self._stage(context, session))

    def _stage(self, context: StageContext, session: Session | None = None) -> Stage:
        judge, like = self.judge, context.folders.get("like")
        if like is not None:
            rate = pipeline.suspect_rate(like, context.split_dir, self.like_threshold)
            judge = judge.model_copy(update={"rate": rate})
        inputs = SuspectInputs(context.folders["run"], context.folders.get("trees"), session, like=like)
        options = SuspectsConfig(judge=judge, candidates=self.candidates)
        return pipeline.suspects_stage(context.split_dir, inputs, options, context.progress)

    def estimate_replies(self, context: StageContext) -> ReplyEstimate | None:
        """Return calls and tokens, and the rate as given or timed on the first requests, as for generated negatives.

        Random candidates, and random path codes, stand in for those of a run and trees that are not made yet.
        """
        if not self.judge.queries_llm:
            return None
        made = {role: folder for role, folder in context.folders.items() if artifacts.is_artifact(folder)}
        options = SuspectsConfig(judge=self.judge, candidates=self.candidates)
        with self.open_for_estimate(context, ACTIVITY) as session:
            cost = pipeline.estimate_suspects(
                context.split_dir,
                SuspectInputs(made.get("run"), made.get("trees"), session),
                options,
                context.progress,
                stand_in=stand_in_trees(splits.read_split(context.split_dir).train.n_items),
                timed=self.n_timed,
            )
            folders = (str(context.folders[role]) for role in sorted(context.folders))
            return self.reply_estimate(session, cost, options.model_dump_json(), *folders)
