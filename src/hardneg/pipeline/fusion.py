"""Stages of late fusion and of text only: runs that train nothing, evaluated and used like any run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, NonNegativeFloat

from hardneg import artifacts
from hardneg.config import Config, MetricName
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.evaluation import best_weight, fuse_scores, fusion, inner_product, text_embeddings
from hardneg.models.baselines.item_item import ItemWeights
from hardneg.pipeline.inference import read_run, require_split_of, scores_hash
from hardneg.pipeline.item_weights import write_weights
from hardneg.pipeline.provenance import LlmNeeds, needs_of, split_inputs
from hardneg.pipeline.text import text_tables
from hardneg.pipeline.training import RUN, note_split, run_costs, write_embeddings
from hardneg.stage import Draft, Stage
from hardneg.storage import read_json
from hardneg.text import text_vectors
from hardneg.types import Embeddings, Floats

CURVE = {"epoch": pl.Int64, "split": pl.String, "metric": pl.String, "value": pl.Float64, "weight": pl.Float64}
"""Columns of metrics.parquet of a run that trains nothing."""


class FusionConfig(Config):
    """Late fusion: score = u.v + g cos(profile, text)."""

    weights: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = fusion.FUSION_WEIGHTS
    """Values of g to choose from on validation pairs."""
    select: MetricName = "recall@20"
    """Validation metric that chooses g."""
    profile: Literal["profiles", "items"] = "profiles"
    """Vector of a user: the encoded profile, or the mean of the vectors of the user's train items."""
    centred: bool = True
    """Subtract the mean from profiles and from item texts before the cosine."""


def fuse_stage(run_dir: Path, split_dir: Path, vectors_dir: Path, config: FusionConfig | None = None) -> Stage:
    """Return the stage that fuses a finished run with text into another run; g is chosen on validation pairs.

    A split without validation pairs, such as that of a run refitted on every pair, needs a single g.
    Raises ConfigError for a run of another split, or one that is fused already.
    """
    config = config or FusionConfig()
    require_split_of(run_dir, split_dir)
    manifest = artifacts.read_manifest(run_dir, RUN)
    if (method := manifest["config"].get("method", "baseline")) not in ("baseline", "popularity"):
        raise ConfigError(f"{run_dir} is {method} already, expected a trained run or a baseline; give that")
    settings = {"method": "late fusion", **config.model_dump(mode="json")}
    inputs = _inputs(split_dir, vectors_dir) | {"run": scores_hash(run_dir)}

    def build(draft: Draft) -> None:
        started = time.perf_counter()
        split, run = splits.read_split(split_dir), read_run(run_dir)
        model, by_items = run.embeddings, run.by_items
        tables = _text_tables(vectors_dir, split, config)
        values = {
            weight: fusion.validation_value(
                inner_product(fuse_scores(model, *tables, weight), by_items=by_items),
                split.valid,
                split.train,
                config.select,
            )
            for weight in (config.weights if len(split.valid) or len(config.weights) > 1 else ())
        }
        draft.notes |= {name: manifest["notes"][name] for name in ("best epoch", "epochs")} | note_split(split_dir)
        weight = best_weight(values) if values else config.weights[0]
        weights = None if by_items is None else by_items.weights
        fused = fuse_scores(model, *tables, weight)
        write_untrained(draft, fused, values, split, config.select, fixed=weight, weights=weights)
        seconds, needs = costs_of_run(run_dir)
        draft.write_costs(run_costs(seconds + time.perf_counter() - started, needs + needs_of(vectors_dir)))

    return Stage(RUN, settings, inputs, build)


def text_only_stage(split_dir: Path, vectors_dir: Path, config: FusionConfig | None = None) -> Stage:
    """Return the stage of a run by text only, cos(profile, text): nothing is trained and nothing is chosen."""
    config = config or FusionConfig()
    settings = {"method": "text only", **config.model_dump(mode="json", exclude={"weights"})}

    def build(draft: Draft) -> None:
        started = time.perf_counter()
        split = splits.read_split(split_dir)
        split.require_pairs("valid")
        embeddings = text_embeddings(*_text_tables(vectors_dir, split, config))
        value = fusion.validation_value(inner_product(embeddings), split.valid, split.train, config.select)
        draft.notes |= {"best epoch": 0, "epochs": 0} | note_split(split_dir)
        write_untrained(draft, embeddings, {float("inf"): value}, split, config.select)
        draft.write_costs(run_costs(time.perf_counter() - started, needs_of(vectors_dir)))

    return Stage(RUN, settings, _inputs(split_dir, vectors_dir), build)


def _inputs(split_dir: Path, vectors_dir: Path) -> dict[str, str]:
    inputs = split_inputs(split_dir, vectors=(vectors_dir, text_vectors.KIND))
    return inputs | {"valid": artifacts.file_hash(split_dir / "valid.parquet")}


def _text_tables(vectors_dir: Path, split: Split, config: FusionConfig) -> tuple[Floats, Floats]:
    """Return user and item vectors, ready for a cosine."""
    vectors = text_vectors.read_text_vectors(vectors_dir)
    tables = text_tables(vectors, split.train, profile=config.profile, centred=config.centred)
    return tables.users, tables.items


def costs_of_run(run_dir: Path) -> tuple[float, LlmNeeds]:
    """Return the seconds of a trained run, and what its language models needed."""
    costs = read_json(run_dir / artifacts.COSTS)
    return costs["seconds"], LlmNeeds(costs["llm_calls"], costs["llm_tokens"], costs["money"])


def write_untrained(
    draft: Draft,
    embeddings: Embeddings,
    values: Mapping[float, float],
    split: Split,
    select: str,
    *,
    fixed: float = float("inf"),
    weights: ItemWeights | None = None,
) -> None:
    """Write a run that trains nothing.

    values: validation value of each weight, infinite for a method without a weight; empty without validation pairs.
    fixed: the weight in that case. weights: those of an item-item model, if it is one.
    """
    weight, epoch = best_weight(dict(values)) if values else fixed, draft.notes["best epoch"]
    draft.notes |= {"weight": None if weight == float("inf") else weight, "select": select}  # JSON has no infinity
    draft.notes["on validation"] = {f"{w:g}": value for w, value in values.items()}
    curve = [
        {"epoch": epoch, "split": "valid", "metric": select, "value": value, "weight": w} for w, value in values.items()
    ]
    pl.DataFrame(curve, schema=CURVE).write_parquet(draft.folder / "metrics.parquet")
    write_embeddings(draft.folder, embeddings, split)
    if weights is not None:
        write_weights(draft.folder, weights)
