"""The stage of suspects: candidates of every train user, and a judge that says which of them the user likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import PositiveInt

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import inner_product, top_items
from hardneg.evaluation.ranking import BLOCK
from hardneg.judging import (
    Judge,
    JudgeConfig,
    JudgeInputs,
    JudgementIssue,
    PrefixRule,
    RandomLabels,
    RecordedJudge,
    RecordedLabels,
    RuleJudge,
    UserCandidates,
    suspects,
)
from hardneg.judging.cost_estimate import JUDGING, estimate_judging
from hardneg.judging.judge_prompts import NAMES, judge_prompt_digests
from hardneg.judging.llm_judge import LlmJudge
from hardneg.llm.session import Session
from hardneg.pipeline.costs import Needed
from hardneg.pipeline.generation import costs_of
from hardneg.pipeline.inference import read_run, require_split_of
from hardneg.pipeline.provenance import chosen_by, hash_of_same_split, inherited
from hardneg.pipeline.trees import control_codes
from hardneg.text import CostEstimate, LlmExecutor, MeteredExecutor
from hardneg.trees import Trees, trees_folder
from hardneg.types import Embeddings, Floats, Progress, block_slices

RANKED = ("embeddings.safetensors",)
"""The files of a run that candidates follow from."""
NO_LABEL_THERE = "the suspects that these are like have no label of it"
NOTHING_LEARNT = (
    "hidden train items have the scores of random ones, so that the rule learnt nothing and calls nothing liked"
)
HELD_OUT = "built with held-out data: its users have test pairs, and what has no label is held out"


class SuspectMining(Config):
    """Suspects of every train user (DTL-NS, arXiv 2602.18249): candidates, codes, and a judge."""

    judge: JudgeConfig = PrefixRule()
    candidates: PositiveInt = 20
    """The items of each user that a trained model ranks highest, observed ones apart."""
    codes: Literal["given", "shuffled", "random"] = "given"
    """Path codes as they are; or, as controls, handed out at random to other items, or random ones of equal shape."""
    seed: int = 0
    """Of shuffled and random codes."""


DEFAULT = SuspectMining()


@dataclass(frozen=True)
class SuspectInputs:
    """What suspects are made from, as far as the judge needs it: a run, trees, a language model, suspects to be like."""

    run: Path | None = None
    trees: Path | None = None
    session: Session | None = None
    foretold: Callable[[CostEstimate], None] | None = field(default=None, compare=False)
    """Told what asking will take, before anything is asked."""
    like: Path | None = None
    """Of the judge random: a suspects folder. What has no label there has none here."""


def identify_suspects(
    split_folder: Path,
    out: Path,
    sources: SuspectInputs,
    options: SuspectMining = DEFAULT,
    progress: Progress | None = None,
) -> None:
    """Judge candidates of every train user into a suspects folder.

    Without a run, recorded labels bring the candidates along; every other judge needs one, trained on this split.
    Raises ConfigError where something that the judge needs is not given or is of another split.
    """
    settings, inputs = _described(split_folder, sources, options)
    if artifacts.is_finished(out, artifacts.artifact_key(suspects.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    meter = None if sources.session is None else MeteredExecutor(sources.session)
    evidence = _evidence(data, sources, options, meter)
    judge = options.judge.build(evidence)
    candidates = _candidates(data, judge, sources.run, options, progress)
    foretold = _foretell(judge, candidates, sources)
    if sources.foretold is not None and foretold.stages:
        sources.foretold(foretold)
    probabilities = judge.probabilities(candidates.users, candidates.items)
    like = None if sources.like is None else suspects.read_suspects(sources.like, data)
    if like is not None:
        probabilities = _unlabelled_like(like, data, candidates, probabilities, evidence)
    found = candidates.to_suspects(probabilities, judge.name)
    rejected, row_report = account(evidence.issues, data.vocabulary)
    suspects.write_suspects(
        out,
        found,
        data.vocabulary,
        rejected,
        config=settings,
        inputs=inputs,
        row_report=row_report,
        notes=_notes(data, like, options, judge, candidates) | _chosen(sources, split_folder),
        costs=_costs(sources, meter, foretold),
    )


def estimate_suspects(
    split_folder: Path, sources: SuspectInputs, options: SuspectMining = DEFAULT, progress: Progress | None = None
) -> CostEstimate:
    """What `identify_suspects` would ask of the language model: calls and tokens, from the real prompts. Asks nothing.

    Raises what `identify_suspects` raises before it asks, and ConfigError where the judge asks nobody.
    """
    _described(split_folder, sources, options)
    data = splits.read_split(split_folder)
    judge = options.judge.build(_evidence(data, sources, options, sources.session))
    foretold = _foretell(judge, _candidates(data, judge, sources.run, options, progress), sources)
    if not foretold.stages:
        raise ConfigError(
            f"judge {options.judge.kind} asks no language model, so there is nothing to foretell; leave it out"
        )
    return foretold


def rate_of(folder: Path, split_folder: Path, threshold: float = suspects.THRESHOLD) -> float:
    """Share of the labelled candidates of a suspects folder that are liked: of the threshold or more, which should be
    that of the run whose control this is."""
    hash_of_same_split(folder, suspects.KIND, split_folder)
    found = suspects.read_suspects(folder, splits.read_split(split_folder))
    if not found.labelled.any():
        raise DataError(f"{folder} has no labelled candidate, so no rate; judge again, or give a rate")
    return len(found.above(threshold)) / int(found.labelled.sum())


def top_candidates(
    embeddings: Embeddings, train: Interactions, k: int, progress: Progress | None = None
) -> UserCandidates:
    """The k unobserved items of every user with train pairs that score highest by inner product, best first."""
    score, users = inner_product(embeddings), np.flatnonzero(train.counts)
    found = np.empty((len(users), min(k, train.n_items)), np.int64)
    for block in block_slices(len(users), BLOCK):
        found[block] = top_items(score, users[block], train, k)
        if progress is not None:
            progress("candidates", min(block.stop, len(users)), len(users))
    return UserCandidates(users, found)


def account(faults: list[JudgementIssue], vocabulary: Vocabulary) -> tuple[pl.DataFrame, RowReport]:
    """What judges could not use, a row each (suspects.REJECTED_SCHEMA), and counted by reason, the most frequent first.

    Rows are by user and item, in whatever order answers came.
    """
    rows = [_named(fault, vocabulary) for fault in sorted(faults, key=_place)]
    counts = Counter(reason for _, _, reason in rows)
    firsts = {reason: f"user {user} item {item}" for user, item, reason in reversed(rows)}
    left_out = {fault.reason for fault in faults if fault.ids is not None}
    remedies = {True: "left out", False: "candidates without a label are nobody's suspects"}
    row_report = tuple(
        RowIssue("judging", reason, count, firsts[reason], f"{remedies[reason in left_out]}; see rejected.parquet")
        for reason, count in counts.most_common()
    )
    return pl.DataFrame(rows, schema=suspects.REJECTED_SCHEMA, orient="row"), row_report


def _place(fault: JudgementIssue) -> tuple[int, int, str, str]:
    return fault.user, -1 if fault.item is None else fault.item, fault.reason, fault.entry or str(fault.ids)


def _named(fault: JudgementIssue, vocabulary: Vocabulary) -> tuple[str | None, str | None, str]:
    if fault.ids is not None:
        return *fault.ids, fault.reason
    user = None if fault.user < 0 else vocabulary.user_ids[fault.user]
    item = fault.entry or None if fault.item is None else vocabulary.item_ids[fault.item]
    return user, item, fault.reason


def _described(
    split_folder: Path, sources: SuspectInputs, options: SuspectMining
) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and input hashes; a file of labels counts by its content and not by its place."""
    settings = {"method": "dual-tree", **options.model_dump(mode="json", exclude={"judge": {"labels"}})}
    inputs = {"training data": splits.training_data_hash(split_folder)}
    if sources.run is not None:
        require_split_of(sources.run, split_folder)
        inputs["run"] = artifacts.folder_hash(sources.run, RANKED)
    if sources.trees is not None:
        inputs["trees"] = hash_of_same_split(sources.trees, trees_folder.KIND, split_folder)
    if sources.session is not None:
        model = sources.session.model
        settings |= {"model": model.name, "prompts": judge_prompt_digests(*NAMES)}
        inputs["model"] = model.identity
    if sources.like is not None:
        inputs |= _like(sources.like, split_folder, options)
    if isinstance(options.judge, RecordedLabels):
        path = options.judge.labels
        inputs["labels"] = artifacts.folder_hash(path) if path.is_dir() else artifacts.file_hash(path)
    return settings, inputs


def _like(folder: Path, split_folder: Path, options: SuspectMining) -> dict[str, str]:
    """Its hash, where it changes anything."""
    if not isinstance(options.judge, RandomLabels):
        raise ConfigError(
            f"found suspects {folder} to be like, which judge {options.judge.kind} never is; leave it out"
        )
    found = hash_of_same_split(folder, suspects.KIND, split_folder)
    return {"like": found} if artifacts.read_manifest(folder, suspects.KIND)["notes"]["unlabelled"] else {}


def _unlabelled_like(
    like: suspects.Suspects, data: Split, candidates: UserCandidates, probabilities: Floats, evidence: JudgeInputs
) -> Floats:
    """The probabilities without those of candidates that have no label in `like`."""
    without = like.where(~like.labelled).pairs(data.train)
    users = np.broadcast_to(candidates.users[:, None], candidates.items.shape)
    lacking = (candidates.items >= 0) & without.contains(users, np.maximum(candidates.items, 0))
    pairs = zip(users[lacking].tolist(), candidates.items[lacking].tolist(), strict=True)
    evidence.issues.extend(JudgementIssue(user, item, NO_LABEL_THERE) for user, item in pairs)
    return np.where(lacking, np.nan, probabilities)


def _codes(folder: Path | None, data: Split, options: SuspectMining) -> Trees | None:
    if folder is None:
        return None
    given = trees_folder.read_trees(folder, data.train.n_items)
    if options.codes == "given":
        return given
    return control_codes(given, options.codes, options.seed)


def _evidence(data: Split, sources: SuspectInputs, options: SuspectMining, asker: LlmExecutor | None) -> JudgeInputs:
    view = None if sources.session is None else sources.session.model
    return JudgeInputs(data, _codes(sources.trees, data, options), asker, view)


def _candidates(
    data: Split, judge: Judge, run: Path | None, options: SuspectMining, progress: Progress | None
) -> UserCandidates:
    if run is not None:
        return top_candidates(read_run(run).embeddings, data.train, options.candidates, progress)
    if isinstance(judge, RecordedJudge):
        return judge.labels.candidates()
    raise ConfigError(
        f"judge {options.judge.kind} needs candidates and found no run; give --run, trained on this split"
    )


def _foretell(judge: Judge, candidates: UserCandidates, sources: SuspectInputs) -> CostEstimate:
    if not isinstance(judge, LlmJudge) or sources.session is None:
        return CostEstimate(())
    return estimate_judging(judge, candidates, sources.session.model)


def _notes(
    data: Split, like: suspects.Suspects | None, options: SuspectMining, judge: Judge, candidates: UserCandidates
) -> dict[str, Any]:
    notes: dict[str, Any] = {"train users": int((data.train.counts > 0).sum())}
    if like is not None and not _same_pairs(like, candidates, data.train):
        notes["like"] = (
            f"the candidates are others than those of {like.judge}: the same share of them is liked, not as many"
        )
    if isinstance(options.judge, RecordedLabels) and options.judge.labels.is_dir():
        notes[suspects.WARNING] = HELD_OUT
    if isinstance(judge, RecordedJudge) and judge.unlabelled is not None:
        n = judge.n_filled(candidates.users, candidates.items)
        notes[suspects.FILLED] = {"candidates": n, "with": judge.unlabelled}
    if isinstance(judge, RecordedJudge) and (outside := judge.n_outside(candidates.users, candidates.items)):
        notes["labels"] = f"{outside:,} pairs of the file are no candidates"
    if isinstance(judge, RuleJudge) and judge.calibration.is_flat:
        notes["rule"] = NOTHING_LEARNT
    return notes


def _same_pairs(like: suspects.Suspects, candidates: UserCandidates, train: Interactions) -> bool:
    own = candidates.to_suspects(np.zeros(candidates.items.shape), "")
    return np.array_equal(like.pairs(train).keys, own.pairs(train).keys)


def _chosen(sources: SuspectInputs, split_folder: Path) -> dict[str, str]:
    return inherited(sources.trees, sources.like) if sources.run is None else chosen_by(split_folder)


def _costs(sources: SuspectInputs, meter: MeteredExecutor | None, foretold: CostEstimate) -> dict[str, Any] | None:
    """What the model took; nothing where none was asked."""
    if sources.session is None or meter is None or not foretold.stages:
        return None
    return costs_of(sources.session, dict(zip((JUDGING,), meter.runs, strict=True)), foretold, Needed())
