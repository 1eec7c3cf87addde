"""The stage that identifies suspects: candidates of every train user, labelled by a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from hardneg import artifacts
from hardneg.config import Config, PerRow, Seed
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.data.products import UNDER_ANOTHER_ID
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import top_items
from hardneg.evaluation.ranking import BLOCK, ScoreFunction
from hardneg.judging import (
    Judge,
    JudgeConfig,
    JudgeInputs,
    JudgementIssue,
    LikelihoodJudge,
    PrefixRule,
    RandomLabels,
    RecordedJudge,
    RecordedLabels,
    RuleJudge,
    ScoredJudge,
    TitleLikelihood,
    UserCandidates,
    suspects,
)
from hardneg.judging.judge_prompts import NAMES, judge_prompt_digests
from hardneg.judging.likelihood import estimate_likelihood, likelihood_prompt_digest
from hardneg.judging.llm_judge import JUDGING, LlmJudge, estimate_judging, time_judging
from hardneg.llm.session import Session
from hardneg.pipeline.generation import summarize_costs
from hardneg.pipeline.inference import read_run, require_split_of, scores_hash
from hardneg.pipeline.provenance import (
    LlmNeeds,
    hash_of_same_split,
    inherited_note,
    require_same_split,
    split_inputs,
    validation_note,
)
from hardneg.pipeline.trees import control_codes
from hardneg.random import generator
from hardneg.stage import Draft, Stage
from hardneg.text import CostEstimate, LlmExecutor, MeteredExecutor
from hardneg.trees import Trees, trees_folder
from hardneg.types import Floats, Indices, Progress, block_slices

NO_LABEL_THERE = "the suspects with the same rate have no label for it"
RULE_IS_FLAT = (
    "hidden train items score like random ones, so the rule cannot tell them apart and labels no candidate as a suspect"
)
LIKELIHOOD_IS_FLAT = "hidden train items score like random ones, so the model cannot tell them apart and labels no candidate as a suspect"
HELD_OUT = "built with held-out data: its users have test pairs, and candidates without a label are held-out items"


class SuspectsConfig(Config):
    """Suspects of every train user (DTL-NS, arXiv 2602.18249): candidates, codes, and a judge."""

    judge: JudgeConfig = PrefixRule()
    candidates: PerRow = 20
    """Number of unobserved items a user, the highest ranked by a trained model."""
    codes: Literal["given", "shuffled", "random"] = "given"
    """Path codes as built; or, as controls, assigned to other items at random, or random ones of the same shape."""
    seed: Seed = 0
    """Seed of shuffled and random codes."""


DEFAULT = SuspectsConfig()


@dataclass(frozen=True)
class SuspectInputs:
    """Inputs from which suspects are identified; a judge needs only some of them."""

    run: Path | None = None
    """Run folder, whose model proposes the candidates."""
    trees: Path | None = None
    """Trees folder, for judges that read path codes."""
    session: Session | None = None
    """Language model, for judges that query one."""
    show_estimate: Callable[[CostEstimate], None] | None = field(default=None, compare=False)
    """Called with the estimated cost before the first request."""
    like: Path | None = None
    """Suspects folder, for the judge random: candidates without a label there get none."""


def suspects_stage(
    split_dir: Path, sources: SuspectInputs, config: SuspectsConfig = DEFAULT, progress: Progress | None = None
) -> Stage:
    """Return the stage in which a judge labels candidates of every train user.

    Without a run, recorded labels bring their candidates along; every other judge needs a run of this split.
    Raises ConfigError where an input is missing or is of another split.
    """
    settings, inputs = _describe(split_dir, sources, config)

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        meter = None if sources.session is None else MeteredExecutor(sources.session)
        judge_inputs = read_judge_inputs(split, sources, config, meter)
        judge = config.judge.build(judge_inputs)
        candidates = _list_candidates(judge_inputs, judge, sources.run, config, progress)
        expected = estimate_judge(judge, candidates, sources)
        if sources.show_estimate is not None and expected.stages:
            sources.show_estimate(expected)
        scores, probabilities = judge_candidates(judge, candidates)
        like = None if sources.like is None else suspects.read_suspects(sources.like, split)
        if like is not None:
            probabilities = _without_labels(like, split, candidates, probabilities, judge_inputs)
        rejected, row_report = report_label_errors(judge_inputs.issues, split.vocabulary)
        labelled = candidates.to_suspects(probabilities, judge.name, scores)
        suspects.write_suspects(draft, labelled, split.vocabulary, rejected, row_report)
        draft.notes |= _notes(split, like, config, judge, candidates) | _validation_note(sources, split_dir)
        draft.write_costs(_costs(sources, meter, expected))

    return Stage(suspects.KIND, settings, inputs, build)


def judge_candidates(judge: Judge, candidates: UserCandidates) -> tuple[Floats | None, Floats]:
    """Return scores, None where the judge has none to keep, and probabilities."""
    if isinstance(judge, ScoredJudge):
        return judge.judge(candidates.users, candidates.items)
    return None, judge.probabilities(candidates.users, candidates.items)


def estimate_suspects(
    split_dir: Path,
    sources: SuspectInputs,
    config: SuspectsConfig = DEFAULT,
    progress: Progress | None = None,
    *,
    stand_in: Trees | None = None,
    timed: int = 0,
) -> CostEstimate:
    """Return the calls and tokens that `suspects_stage` will need, from the real prompts.

    stand_in: used where the trees are not made yet; without a run, random unobserved items are the candidates then. timed:
    number of first requests about users to send, for the length of answers and the seconds of a call; none by default.
    Raises ConfigError where an input is missing, as `suspects_stage` does, and where the judge queries no model.
    """
    _describe(split_dir, sources, config)
    split, session = splits.read_split(split_dir), sources.session
    judge_inputs = read_judge_inputs(split, sources, config, session)
    if stand_in is not None and judge_inputs.trees is None:
        judge_inputs = replace(judge_inputs, trees=stand_in)
    judge = config.judge.build(judge_inputs)
    if stand_in is not None and sources.run is None:
        candidates = top_candidates(_random_scores(split.train.n_items), split.owned, config.candidates)
    else:
        candidates = _list_candidates(judge_inputs, judge, sources.run, config, progress)
    expected = estimate_judge(judge, candidates, sources)
    if not expected.stages:
        raise ConfigError(
            f"judge {config.judge.kind} queries no language model, so there is no cost to estimate; leave it out"
        )
    if not timed or session is None or not isinstance(judge, LikelihoodJudge | LlmJudge):
        return expected
    return time_judging(expected, judge.first_requests(candidates.users, candidates.items, timed), session)


def _random_scores(n_items: int) -> ScoreFunction:
    rng = generator(0, "stand-in")
    return lambda users: torch.from_numpy(rng.random((len(users), n_items), np.float32))


def suspect_rate(folder: Path, split_dir: Path, threshold: float = suspects.THRESHOLD) -> float:
    """Return the share of labelled candidates of a suspects folder whose probability reaches the threshold.

    The threshold should be that of the run whose control is made.
    """
    require_same_split(folder, suspects.KIND, split_dir)
    labelled = suspects.read_suspects(folder, splits.read_split(split_dir))
    if not labelled.labelled.any():
        raise DataError(f"{folder} has no labelled candidate, so no rate; judge again, or give a rate")
    return len(labelled.above(threshold)) / int(labelled.labelled.sum())


def top_candidates(
    score: ScoreFunction, owned: Interactions, k: int, progress: Progress | None = None
) -> UserCandidates:
    """Return the k items that score highest among those a user does not have, best first, for users with pairs.

    owned: what users have, under any id (`Split.owned`).
    """
    users = np.flatnonzero(owned.counts)
    return UserCandidates(users, _rank(score, users, owned, k, progress))


def _rank(score: ScoreFunction, users: Indices, masked: Interactions, k: int, progress: Progress | None) -> Indices:
    items = np.empty((len(users), min(k, masked.n_items)), np.int64)
    for block in block_slices(len(users), BLOCK):
        items[block] = top_items(score, users[block], masked, k)
        if progress is not None:
            progress("candidates", min(block.stop, len(users)), len(users))
    return items


def _report_other_ids(score: ScoreFunction, split: Split, k: int) -> list[JudgementIssue]:
    """Return the items that would be candidates if the user did not have them under another id."""
    users = np.flatnonzero(split.owned.counts > split.train.counts)
    items = _rank(score, users, split.train, k, None)
    rows, places = np.nonzero((items >= 0) & split.owned.contains(users[:, None], np.maximum(items, 0)))
    ids = split.vocabulary
    return [
        JudgementIssue(user, None, UNDER_ANOTHER_ID, ids=(ids.user_ids[user], ids.item_ids[item]))
        for user, item in zip(users[rows].tolist(), items[rows, places].tolist(), strict=True)
    ]


def report_label_errors(issues: list[JudgementIssue], vocabulary: Vocabulary) -> tuple[pl.DataFrame, RowReport]:
    """Return failed labels, a row each (suspects.REJECTED_SCHEMA), and their counts by reason, most frequent first.

    Rows are sorted by user and item.
    """
    rows = [_name_ids(issue, vocabulary) for issue in sorted(issues, key=_sort_key)]
    counts = Counter(reason for _, _, reason in rows)
    firsts = {reason: f"user {user} item {item}" for user, item, reason in reversed(rows)}
    left_out = {issue.reason for issue in issues if issue.ids is not None}
    remedies = {True: "left out", False: "candidates without a label are no suspects"}
    row_report = tuple(
        RowIssue("judging", reason, count, firsts[reason], f"{remedies[reason in left_out]}; see rejected.parquet")
        for reason, count in counts.most_common()
    )
    return pl.DataFrame(rows, schema=suspects.REJECTED_SCHEMA, orient="row"), row_report


def _sort_key(issue: JudgementIssue) -> tuple[int, int, str, str]:
    return issue.user, -1 if issue.item is None else issue.item, issue.reason, issue.entry or str(issue.ids)


def _name_ids(issue: JudgementIssue, vocabulary: Vocabulary) -> tuple[str | None, str | None, str]:
    if issue.ids is not None:
        return *issue.ids, issue.reason
    user = None if issue.user < 0 else vocabulary.user_ids[issue.user]
    item = issue.entry or None if issue.item is None else vocabulary.item_ids[issue.item]
    return user, item, issue.reason


def _describe(
    split_dir: Path, sources: SuspectInputs, options: SuspectsConfig
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return settings and input hashes; a file of labels counts by its content, not by its path."""
    settings = {"method": "dual-tree", **options.model_dump(mode="json", exclude={"judge": {"labels"}})}
    inputs = split_inputs(split_dir, trees=(sources.trees, trees_folder.KIND))
    if sources.run is not None:
        require_split_of(sources.run, split_dir)
        inputs["run"] = scores_hash(sources.run)
    if sources.session is not None:
        model = sources.session.model
        is_likelihood = isinstance(options.judge, TitleLikelihood)
        prompts = likelihood_prompt_digest() if is_likelihood else judge_prompt_digests(*NAMES)
        settings |= {"model": model.name, "prompts": prompts}
        inputs["model"] = model.identity
    if sources.like is not None:
        inputs |= _like(sources.like, split_dir, options)
    if isinstance(options.judge, RecordedLabels):
        path = options.judge.labels
        inputs["labels"] = artifacts.folder_hash(path) if path.is_dir() else artifacts.file_hash(path)
    return settings, inputs


def _like(folder: Path, split_dir: Path, options: SuspectsConfig) -> dict[str, str]:
    """Return the hash of suspects with the same rate, where it changes anything."""
    if not isinstance(options.judge, RandomLabels):
        raise ConfigError(
            f"found suspects {folder} with the rate for judge random, but the judge is {options.judge.kind}; leave it out"
        )
    digest = hash_of_same_split(folder, suspects.KIND, split_dir)
    return {"like": digest} if artifacts.read_manifest(folder, suspects.KIND)["notes"]["unlabelled"] else {}


def _without_labels(
    like: suspects.Suspects, split: Split, candidates: UserCandidates, probabilities: Floats, judge_inputs: JudgeInputs
) -> Floats:
    """Return the probabilities, NaN for candidates that have no label in `like`."""
    without = like.where(~like.labelled).pairs(split.train)
    users = np.broadcast_to(candidates.users[:, None], candidates.items.shape)
    lacking = (candidates.items >= 0) & without.contains(users, np.maximum(candidates.items, 0))
    pairs = zip(users[lacking].tolist(), candidates.items[lacking].tolist(), strict=True)
    judge_inputs.issues.extend(JudgementIssue(user, item, NO_LABEL_THERE) for user, item in pairs)
    return np.where(lacking, np.nan, probabilities)


def read_judge_inputs(
    split: Split, sources: SuspectInputs, options: SuspectsConfig, executor: LlmExecutor | None
) -> JudgeInputs:
    """Return what a judge is built from. executor: sends its requests, None without a language model."""
    trees = None if sources.trees is None else trees_folder.read_trees(sources.trees, split.train.n_items)
    if trees is not None and options.codes != "given":
        trees = control_codes(trees, options.codes, options.seed)
    return JudgeInputs(split, trees, executor, None if sources.session is None else sources.session.model)


def _list_candidates(
    inputs: JudgeInputs, judge: Judge, run: Path | None, options: SuspectsConfig, progress: Progress | None
) -> UserCandidates:
    if run is not None:
        score = read_run(run).score()
        inputs.issues.extend(_report_other_ids(score, inputs.split, options.candidates))
        return top_candidates(score, inputs.split.owned, options.candidates, progress)
    if isinstance(judge, RecordedJudge):
        return judge.labels.candidates()
    raise ConfigError(
        f"judge {options.judge.kind} needs candidates and found no run; give --run, trained on this split"
    )


def estimate_judge(judge: Judge, candidates: UserCandidates, sources: SuspectInputs) -> CostEstimate:
    """Return calls and tokens of judging the candidates; no stage where the judge queries no model."""
    if sources.session is None:
        return CostEstimate(())
    if isinstance(judge, LikelihoodJudge):
        return estimate_likelihood(judge, candidates, sources.session.model)
    if isinstance(judge, LlmJudge):
        return estimate_judging(judge, candidates, sources.session.model)
    return CostEstimate(())


def _notes(
    split: Split, like: suspects.Suspects | None, options: SuspectsConfig, judge: Judge, candidates: UserCandidates
) -> dict[str, Any]:
    notes: dict[str, Any] = {"train users": int((split.train.counts > 0).sum())}
    if like is not None and not _same_pairs(like, candidates, split.train):
        notes["like"] = (
            f"the candidates differ from those of {like.judge}: the share of suspects is equal, not their number"
        )
    if isinstance(options.judge, RecordedLabels) and options.judge.labels.is_dir():
        notes[suspects.WARNING] = HELD_OUT
    if isinstance(judge, RecordedJudge) and judge.unlabelled is not None:
        n = judge.n_filled(candidates.users, candidates.items)
        notes[suspects.FILLED] = {"candidates": n, "with": judge.unlabelled}
    if isinstance(judge, RecordedJudge) and (outside := judge.n_outside(candidates.users, candidates.items)):
        notes["labels"] = f"{outside:,} pairs of the file are no candidates"
    if isinstance(judge, RuleJudge) and judge.calibration.is_flat:
        notes["rule"] = RULE_IS_FLAT
    if isinstance(judge, LikelihoodJudge) and judge.calibration is not None:
        notes["calibration"] = judge.calibration_notes
        if judge.calibration.is_flat:
            notes["likelihood"] = LIKELIHOOD_IS_FLAT
    return notes


def _same_pairs(like: suspects.Suspects, candidates: UserCandidates, train: Interactions) -> bool:
    own = candidates.to_suspects(np.zeros(candidates.items.shape), "")
    return np.array_equal(like.pairs(train).keys, own.pairs(train).keys)


def _validation_note(sources: SuspectInputs, split_dir: Path) -> dict[str, str]:
    return inherited_note(sources.trees, sources.like) if sources.run is None else validation_note(split_dir)


def _costs(sources: SuspectInputs, meter: MeteredExecutor | None, expected: CostEstimate) -> dict[str, Any] | None:
    """Return the costs of the language model; None where none was queried."""
    if sources.session is None or meter is None or not expected.stages:
        return None
    return summarize_costs(sources.session, dict(zip((JUDGING,), meter.runs, strict=True)), expected, LlmNeeds())
