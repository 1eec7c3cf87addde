"""The stage of a run by popularity: every user gets the most popular items. Nothing is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from hardneg.config import Config, MetricName
from hardneg.data import split as splits
from hardneg.evaluation import fusion, inner_product
from hardneg.models import count_embeddings
from hardneg.pipeline.fusion import write_untrained
from hardneg.pipeline.provenance import LlmNeeds
from hardneg.pipeline.training import RUN, note_split, run_costs, run_inputs
from hardneg.stage import Draft, Stage

POPULARITY: Literal["popularity"] = "popularity"
"""Setting `method` of such a run, and name of its line in a study."""


class PopularityConfig(Config):
    """Score of an item: its number of train pairs."""

    method: Literal["popularity"] = POPULARITY
    select: MetricName = "recall@20"
    """Validation metric that is recorded; it chooses nothing."""


def popularity_stage(split_dir: Path, config: PopularityConfig | None = None) -> Stage:
    """Return the stage of a run whose scores are item counts, the same for every user."""
    config = config or PopularityConfig()

    def build(draft: Draft) -> None:
        started = time.perf_counter()
        split = splits.read_split(split_dir)
        embeddings, values = count_embeddings(split.train), dict[float, float]()
        if len(split.valid):
            score = inner_product(embeddings)
            values[float("inf")] = fusion.validation_value(score, split.valid, split.train, config.select)
        draft.notes |= {"best epoch": 0, "epochs": 0} | note_split(split_dir)
        write_untrained(draft, embeddings, values, split, config.select)
        draft.write_costs(run_costs(time.perf_counter() - started, LlmNeeds()))

    return Stage(RUN, config.model_dump(mode="json"), run_inputs(split_dir), build)
