"""Evaluation of a judge on train items that were hidden from it (`hardneg data add-noise` records them)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.diagnostics import judge_quality as quality
from hardneg.diagnostics.judge_quality import ORIGINS, HiddenItemCandidates, HiddenItemsConfig
from hardneg.judging import suspects
from hardneg.pipeline.data import truth_of
from hardneg.pipeline.provenance import split_inputs
from hardneg.pipeline.suspects import SuspectInputs, SuspectsConfig, estimate_judge, judge_candidates, read_judge_inputs
from hardneg.text import CostEstimate, MeteredExecutor
from hardneg.trees import trees_folder
from hardneg.types import Floats

SCHEMA = suspects.SCHEMA | {"origin": pl.String, "like": pl.Float64}
"""Columns of the judged candidates; `like` is the true like-probability, null for real data."""


@dataclass(frozen=True)
class JudgingCosts:
    """Replies and tokens that all candidates need, stored replies included; seconds of a run without stored replies.

    seconds: None where all replies were stored.
    """

    candidates: int
    calls: int
    prompt_tokens: int
    answer_tokens: int
    seconds: float | None


@dataclass(frozen=True)
class JudgeEvaluation:
    """Result of an evaluation.

    candidates: a row for each judged candidate. measures: a row for each kind of unobserved items that hidden items are
    compared with. bins: reliability of the probabilities. costs: of all candidates.
    """

    judge: str
    candidates: pl.DataFrame
    measures: pl.DataFrame
    bins: pl.DataFrame
    costs: JudgingCosts


def evaluate_judge(
    split_dir: Path,
    sources: SuspectInputs,
    options: SuspectsConfig,
    config: HiddenItemsConfig,
    truth: Path | None = None,
) -> JudgeEvaluation:
    """Judge hidden train items beside unobserved ones, and measure how well the judge separates them.

    options: the judge and its codes; its number of candidates is not read. truth: dataset folder of a simulated store.
    Raises DataError where the split records no hidden pairs.
    """
    split, drawn = _draw(split_dir, config)
    split_inputs(split_dir, trees=(sources.trees, trees_folder.KIND))  # of the same split
    meter = None if sources.session is None else MeteredExecutor(sources.session)
    judge = options.judge.build(read_judge_inputs(split, sources, options, meter))
    expected = estimate_judge(judge, drawn.candidates, sources)
    if sources.show_estimate is not None and expected.stages:
        sources.show_estimate(expected)
    started = time.perf_counter()
    scores, probabilities = judge_candidates(judge, drawn.candidates)
    costs = _costs(drawn, sources, meter, time.perf_counter() - started)
    likes = None if truth is None else _likes(drawn, truth, split_dir)
    return JudgeEvaluation(
        judge.name,
        _tabulate(split, drawn, probabilities, likes, judge.name),
        measure_judge(probabilities, drawn, likes, scores=scores),
        _tabulate_bins(probabilities, drawn),
        costs,
    )


def estimate_evaluation(
    split_dir: Path, sources: SuspectInputs, options: SuspectsConfig, config: HiddenItemsConfig
) -> CostEstimate:
    """Return the calls and tokens that `evaluate_judge` will need; no model is queried."""
    split, drawn = _draw(split_dir, config)
    judge = options.judge.build(read_judge_inputs(split, sources, options, sources.session))
    return estimate_judge(judge, drawn.candidates, sources)


def measure_judge(
    probabilities: Floats,
    drawn: HiddenItemCandidates,
    likes: Floats | None = None,
    *,
    graded: bool = True,
    scores: Floats | None = None,
) -> pl.DataFrame:
    """Return the measures, a row for each kind of unobserved items.

    graded: False for scores that are no probabilities. scores: from which the probabilities were calibrated; they rank
    the items, since calibrated probabilities have ties.
    """
    rows = []
    for against in (quality.RANDOM, quality.POPULAR):
        if not (drawn.origins == against).any():
            continue
        row = {"against": ORIGINS[against], "labelled": float((~np.isnan(probabilities[drawn.origins >= 0])).mean())}
        row |= quality.rank_measures(probabilities if scores is None else scores, drawn.origins, against)
        row |= quality.label_measures(
            probabilities if graded else np.full_like(probabilities, np.nan), drawn.origins, against
        )
        if likes is not None and against == quality.RANDOM and graded:
            row |= quality.truth_measures(probabilities, likes, drawn.origins)
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _draw(split_dir: Path, config: HiddenItemsConfig) -> tuple[Split, HiddenItemCandidates]:
    split = splits.read_split(split_dir)
    return split, quality.draw_candidates(split, noises.read_noise(split_dir).hidden, config)


def _likes(drawn: HiddenItemCandidates, truth: Path, split_dir: Path) -> Floats:
    candidates = drawn.candidates
    return truth_of(truth, split_dir).like_probability(candidates.users[:, None], np.maximum(candidates.items, 0))


def _costs(
    drawn: HiddenItemCandidates, sources: SuspectInputs, meter: MeteredExecutor | None, seconds: float
) -> JudgingCosts:
    if sources.session is None or meter is None:
        return JudgingCosts(len(drawn), 0, 0, 0, seconds)
    usage, runs = sources.session.usage, meter.runs
    share = 1 - usage.stored / max(usage.rows, 1)
    return JudgingCosts(
        len(drawn),
        sum(run.calls for run in runs),
        sum(run.prompt_tokens for run in runs),
        sum(run.answer_tokens for run in runs),
        seconds / share if share > 0 else None,
    )


def _tabulate(
    split: Split, drawn: HiddenItemCandidates, probabilities: Floats, likes: Floats | None, judge: str
) -> pl.DataFrame:
    rows, places = np.nonzero(drawn.candidates.present)
    judged = drawn.candidates.to_suspects(probabilities, judge)
    like = np.full(len(rows), np.nan) if likes is None else likes[rows, places].astype(float)
    columns = {
        "user_id": pl.Series(split.vocabulary.user_ids, dtype=pl.String).gather(judged.users),
        "item_id": pl.Series(split.vocabulary.item_ids, dtype=pl.String).gather(judged.items),
        "probability": pl.Series(judged.probability, dtype=pl.Float64).fill_nan(None),
        "judge": pl.repeat(judge, len(rows), dtype=pl.String, eager=True),
        "origin": pl.Series(ORIGINS, dtype=pl.String).gather(drawn.origins[rows, places]),
        "like": pl.Series(like, dtype=pl.Float64).fill_nan(None),
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def _tabulate_bins(probabilities: Floats, drawn: HiddenItemCandidates) -> pl.DataFrame:
    kinds = [kind for kind in (quality.RANDOM, quality.POPULAR) if (drawn.origins == kind).any()]
    frames = [
        quality.reliability_bins(probabilities, drawn.origins, kind).with_columns(against=pl.lit(ORIGINS[kind]))
        for kind in kinds
    ]
    return pl.concat(frames) if frames else pl.DataFrame()
