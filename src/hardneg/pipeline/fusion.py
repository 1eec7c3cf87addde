"""Late fusion and text alone as run folders: they train nothing, and are evaluated and served like any run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, NonNegativeFloat

from hardneg import api, artifacts
from hardneg.config import Config
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.evaluation import best_weight, fuse_scores, fusion, text_embeddings
from hardneg.pipeline.costs import NAME as COSTS
from hardneg.pipeline.costs import Needed, needed_by
from hardneg.pipeline.inference import read_run, require_split_of
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.pipeline.training import RUN, run_costs, write_serving
from hardneg.text import TextVectors, text_vectors
from hardneg.types import Embeddings, Floats

NO_EPOCHS = {"best epoch": 0, "epochs": 0}
"""Of text alone, which is not trained."""


class FusionConfig(Config):
    """How far text is trusted: score = u.v + g cos(profile, text)."""

    weights: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)] = fusion.FUSION_WEIGHTS
    """What g is chosen from, on validation pairs."""
    select: Annotated[str, Field(pattern=r"^(recall|ndcg|precision|hit_rate)@[1-9]\d*$")] = "recall@20"
    """The validation metric that chooses."""
    profile: Literal["profiles", "items"] = "profiles"
    """What a user's vector is: the encoded profile, or the mean of the vectors of the user's train items."""
    centred: bool = True
    """Take the mean off profiles and off item texts before the cosine."""


@dataclass(frozen=True)
class _Made:
    """What goes into a run folder: tables, validation value a weight (inf for text alone), epochs of the model."""

    embeddings: Embeddings
    values: Mapping[float, float]
    epochs: Mapping[str, int]


def fuse(
    run_folder: Path, split_folder: Path, vectors_folder: Path, out: Path, config: FusionConfig | None = None
) -> None:
    """Fuse a finished run with text into another run folder; g is chosen on validation, test pairs are not read."""
    config = config or FusionConfig()
    require_split_of(run_folder, split_folder)
    if "method" in (manifest := artifacts.read_manifest(run_folder, RUN))["config"]:
        raise ConfigError(f"{run_folder} is {manifest['config']['method']} already, expected a trained run; give that")
    settings, inputs = _fused(run_folder, split_folder, vectors_folder, config)
    if artifacts.is_finished(out, artifacts.artifact_key(RUN, settings, inputs)):
        return
    started = time.perf_counter()
    data, model = splits.read_split(split_folder), read_run(run_folder).embeddings
    tables = _tables(text_vectors.read_text_vectors(vectors_folder), data, config)
    values = fusion.validation_values(
        model, *tables, data.valid, data.train, metric=config.select, weights=config.weights
    )
    chosen = fuse_scores(model, *tables, best_weight(values))
    made = _Made(chosen, values, {name: manifest["notes"][name] for name in NO_EPOCHS})
    seconds, needed = _costs_of(run_folder)
    seconds += time.perf_counter() - started
    _write(out, made, data, settings, inputs, run_costs(seconds, needed + needed_by(vectors_folder)), config.select)


def fused_key(run_folder: Path, split_folder: Path, vectors_folder: Path, config: FusionConfig) -> str:
    """The key of the run that `fuse` would make."""
    return artifacts.artifact_key(RUN, *_fused(run_folder, split_folder, vectors_folder, config))


def _fused(
    run_folder: Path, split_folder: Path, vectors_folder: Path, config: FusionConfig
) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and inputs."""
    inputs = {"run": artifacts.file_hash(run_folder / "embeddings.safetensors")}
    inputs |= _inputs(split_folder, vectors_folder)
    return {"method": "late fusion", **config.model_dump(mode="json")}, inputs


def text_alone(split_folder: Path, vectors_folder: Path, out: Path, config: FusionConfig | None = None) -> None:
    """Text alone as a run folder: cos(profile, text), nothing trained and nothing chosen."""
    config = config or FusionConfig()
    settings, inputs = _alone(config), _inputs(split_folder, vectors_folder)
    if artifacts.is_finished(out, artifacts.artifact_key(RUN, settings, inputs)):
        return
    started = time.perf_counter()
    data = splits.read_split(split_folder)
    api.require_validation(data)
    alone = text_embeddings(*_tables(text_vectors.read_text_vectors(vectors_folder), data, config))
    made = _Made(
        alone, {float("inf"): fusion.validation_value(alone, data.valid, data.train, config.select)}, NO_EPOCHS
    )
    costs = run_costs(time.perf_counter() - started, needed_by(vectors_folder))
    _write(out, made, data, settings, inputs, costs, config.select)


def text_key(split_folder: Path, vectors_folder: Path, config: FusionConfig) -> str:
    """The key of the run that `text_alone` would make."""
    return artifacts.artifact_key(RUN, _alone(config), _inputs(split_folder, vectors_folder))


def _alone(config: FusionConfig) -> dict[str, Any]:
    return {"method": "text only", **config.model_dump(mode="json", exclude={"weights"})}


def _inputs(split_folder: Path, vectors_folder: Path) -> dict[str, str]:
    """Hashes of what text alone is made from, by the names of a run's."""
    return {
        "training data": splits.training_data_hash(split_folder),
        "valid": artifacts.file_hash(split_folder / "valid.parquet"),
        "vectors": hash_of_same_split(vectors_folder, text_vectors.KIND, split_folder),
    }


def _tables(vectors: TextVectors, data: Split, config: FusionConfig) -> tuple[Floats, Floats]:
    """Users and item texts, ready for a cosine."""
    texts = fusion.center_rows(vectors.items) if config.centred else vectors.items
    if config.profile == "items":
        return fusion.mean_of_items(data.train, texts), texts
    return fusion.center_rows(vectors.users) if config.centred else vectors.users, texts


def _costs_of(run_folder: Path) -> tuple[float, Needed]:
    """Seconds and language models behind a trained run."""
    costs = json.loads((run_folder / COSTS).read_text(encoding="utf-8"))
    return costs["seconds"], Needed(costs["llm_calls"], costs["llm_tokens"], costs["money"])


def _write(
    out: Path,
    made: _Made,
    data: Split,
    settings: dict[str, Any],
    inputs: dict[str, str],
    costs: dict[str, Any],
    select: str,
) -> None:
    weight = best_weight(dict(made.values))
    # JSON knows no infinity: text alone has no weight.
    notes: dict[str, Any] = {"weight": None if weight == float("inf") else weight, "select": select, **made.epochs}
    notes["on validation"] = {f"{w:g}": value for w, value in made.values.items()}
    curve = [
        {"epoch": made.epochs["best epoch"], "split": "valid", "metric": select, "value": value, "weight": w}
        for w, value in made.values.items()
    ]
    with artifacts.writing(out, RUN, settings, inputs, notes) as folder:
        pl.DataFrame(curve).write_parquet(folder / "metrics.parquet")
        write_serving(folder, made.embeddings, data)
        artifacts.write_costs(folder, costs)
