"""Suspects identified with a judge that needs neither an LLM nor a file of labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, PositiveInt

from hardneg import pipeline
from hardneg.judging import JudgeConfig, PrefixRule, RandomLabels, RecordedLabels
from hardneg.judging.suspects import THRESHOLD, Threshold
from hardneg.pipeline import SuspectInputs, SuspectsConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import NameIn, StageContext, StudyFile, SuspectsRecipe
from hardneg.studies.recipes.auxiliary_run import AuxiliaryRun


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
    candidates: PositiveInt = SuspectsConfig().candidates
    """Candidates of each user."""

    def problems(self, where: str, file: StudyFile) -> list[str]:
        problems = [text.removeprefix(f"{where}: ") for text in super().problems(where, file)]
        if self.judge.reads_trees and self.trees is None:
            problems.append(f"judge {self.judge.kind!r} needs trees; name some with `trees: NAME`")
        if not self.judge.reads_trees and self.trees is not None:
            problems.append(f"judge {self.judge.kind!r} uses no trees; leave out")
        if self.like is None and "like_threshold" in self.model_fields_set:
            problems.append("found like_threshold without like; name suspects with `like: NAME`")
        if self.like is not None:
            problems += self._like_problems(self.like, file)
        return [f"{where}: {text}" for text in problems]

    def _like_problems(self, name: str, file: StudyFile) -> list[str]:
        like, problems = file.grid.suspects.get(name), list[str]()
        if not isinstance(self.judge, RandomLabels):
            problems.append(f"like is for judge 'random' alone, found {self.judge.kind!r}; leave it out")
        elif "rate" in self.judge.model_fields_set:
            problems.append(f"found both a rate and like {name!r}; give one")
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
