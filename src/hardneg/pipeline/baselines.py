"""The stage of a run by a baseline: popularity, item-kNN, EASE or implicit ALS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hardneg.config import Config, MetricName, Seed
from hardneg.data import split as splits
from hardneg.evaluation import fusion, inner_product
from hardneg.models.baselines import BaselineConfig, ItemItem
from hardneg.pipeline.fusion import write_untrained
from hardneg.pipeline.provenance import LlmNeeds
from hardneg.pipeline.training import RUN, RunConfig, note_split, run_costs, run_inputs, train_stage
from hardneg.stage import Draft, Stage

BASELINE = "baseline"
"""Setting `method` of such a run."""


class BaselineRunConfig(Config):
    """A run by a baseline."""

    baseline: BaselineConfig
    """Such as {kind: ease, l2: 300}; `hardneg options baseline` lists them."""
    select: MetricName = "recall@20"
    """Validation metric that is recorded; it chooses nothing."""
    seed: Seed = 0
    """Seed of a baseline that starts at random."""


def baseline_stage(split_dir: Path, config: BaselineRunConfig) -> Stage:
    """Return the stage of a run whose scores are those of a baseline on the train pairs; nothing is chosen."""

    def build(draft: Draft) -> None:
        started = time.perf_counter()
        split, values = splits.read_split(split_dir), dict[float, float]()
        scores = config.baseline.fit(split.train, seed=config.seed)
        if len(split.valid):
            by_items = None if scores.weights is None else ItemItem(split.train, scores.weights)
            score = inner_product(scores.embeddings, by_items=by_items)
            values[float("inf")] = fusion.validation_value(score, split.valid, split.train, config.select)
        draft.notes |= {"best epoch": 0, "epochs": 0} | note_split(split_dir)
        write_untrained(draft, scores.embeddings, values, split, config.select, weights=scores.weights)
        draft.write_costs(run_costs(time.perf_counter() - started, LlmNeeds()))

    settings: dict[str, Any] = {"method": BASELINE, **config.model_dump(mode="json")}
    return Stage(RUN, settings, run_inputs(split_dir), build)


def stage_of_run(split_dir: Path, config: RunConfig, **training: Any) -> Stage:
    """Return the stage of a run: of a baseline where the settings have one, else the one that trains.

    training: arguments of `train_stage`, which a baseline does not need.
    """
    if config.baseline is None:
        return train_stage(split_dir, config, **training)
    baseline = BaselineRunConfig(baseline=config.baseline, select=config.fit.select, seed=config.fit.seed)
    return baseline_stage(split_dir, baseline)
