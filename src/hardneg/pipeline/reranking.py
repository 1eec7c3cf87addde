"""The stage of reranking: a finished run and judged candidates give a run whose judged candidates are in another order."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeFloat

from hardneg import artifacts
from hardneg.config import Config, MetricName
from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import PairBonus, best_weight, center_scores, fusion, inner_product, rerank, score_pairs
from hardneg.evaluation.reranking import RERANK_WEIGHTS
from hardneg.judging import suspects
from hardneg.pipeline.fusion import costs_of_run, write_untrained
from hardneg.pipeline.inference import BONUS, read_run, require_split_of, scores_hash
from hardneg.pipeline.provenance import needs_of, split_inputs
from hardneg.pipeline.training import RUN, note_split, run_costs
from hardneg.stage import Draft, Stage
from hardneg.types import Floats

RERANKED = "reranking"
"""Method of a reranked run."""
UNCHANGED = "reranking does not change the metric"
"""Note of a run: every weight has the same value on validation pairs."""


class RerankConfig(Config):
    """Reranking of judged candidates: order by the model's score + g x the judge's score, within each user's list."""

    weights: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = RERANK_WEIGHTS
    """Values of g to choose from on validation pairs."""
    select: MetricName = "ndcg@20"
    """Validation metric that chooses g; recall at the number of candidates or beyond cannot change."""


def rerank_stage(run_dir: Path, split_dir: Path, suspects_dir: Path, config: RerankConfig | None = None) -> Stage:
    """Return the stage that reranks the judged candidates of a finished run; g is chosen on validation pairs.

    The run may be one of late fusion with text. The candidates may come from this run or from another of the same split.
    Raises ConfigError for a run of another split, for one that is reranked already, and for candidates or labels that
    held-out pairs decided.
    """
    config = config or RerankConfig()
    require_split_of(run_dir, split_dir)
    manifest = artifacts.read_manifest(run_dir, RUN)
    if manifest["config"].get("method") == RERANKED:
        raise ConfigError(f"{run_dir} is reranked already, expected a run with scores of its own; give that")
    inputs = split_inputs(split_dir, suspects=(suspects_dir, suspects.KIND))
    inputs |= {"valid": artifacts.file_hash(split_dir / "valid.parquet"), "run": scores_hash(run_dir)}
    judged = artifacts.read_manifest(suspects_dir, suspects.KIND)
    if suspects.WARNING in judged["notes"]:
        raise ConfigError(f"{suspects_dir} was {judged['notes'][suspects.WARNING]}; judge candidates of a run instead")

    def build(draft: Draft) -> None:
        started = time.perf_counter()
        split, embeddings = splits.read_split(split_dir), read_run(run_dir).require_embeddings(run_dir)
        pairs, scores = read_judged(suspects_dir, split)
        own, centred = score_pairs(embeddings, pairs), center_scores(pairs, scores)

        def value(weight: float) -> float:
            score = inner_product(embeddings, bonus=rerank(pairs, own, centred, weight))
            return fusion.validation_value(score, split.valid, split.train, config.select)

        values = {weight: value(weight) for weight in config.weights}
        draft.notes |= {name: manifest["notes"][name] for name in ("best epoch", "epochs")} | note_split(split_dir)
        draft.notes |= _describe(judged, pairs, values, is_own=judged["inputs"].get("run") == inputs["run"])
        write_untrained(draft, embeddings, values, split, config.select)
        _write_bonus(draft, rerank(pairs, own, centred, best_weight(values)))
        seconds, needs = costs_of_run(run_dir)
        draft.write_costs(run_costs(seconds + time.perf_counter() - started, needs + needs_of(suspects_dir)))

    return Stage(RUN, {"method": RERANKED, **config.model_dump(mode="json")}, inputs, build)


def read_judged(suspects_dir: Path, split: Split) -> tuple[Interactions, Floats]:
    """Return the judged pairs and their scores, (pairs,): raw scores of the judge, or probabilities where it has none.

    Raises DataError where no candidate has a label, or a score is not finite.
    """
    judged = suspects.read_suspects(suspects_dir, split)
    column = judged.probability if judged.score is None else judged.score
    labelled = judged.labelled & ~np.isnan(column)
    if not labelled.any():
        raise DataError(f"{suspects_dir} has no labelled candidate, expected at least one; judge again")
    if not np.isfinite(column[labelled]).all():
        raise DataError(f"{suspects_dir} has scores that are not finite, expected numbers; judge again")
    rows = judged.where(labelled)
    pairs = rows.pairs(split.train)
    return pairs, column[labelled][np.lexsort((rows.items, rows.users))]


def _describe(
    judged: dict[str, Any], pairs: Interactions, values: dict[float, float], *, is_own: bool
) -> dict[str, Any]:
    notes = {
        "judged by": judged["notes"]["judge"],
        "judged candidates": len(pairs),
        "candidates of": "this run" if is_own else "another run of the split",
    }
    changes = len(set(values.values())) > 1 or len(values) == 1
    return notes if changes else notes | {UNCHANGED: "select another one, or judge more candidates"}


def _write_bonus(draft: Draft, bonus: PairBonus) -> None:
    columns = {c.USER: bonus.pairs.users, c.ITEM: bonus.pairs.items, "bonus": bonus.values}
    pl.DataFrame(columns).write_parquet(draft.folder / BONUS)
