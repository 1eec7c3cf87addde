"""The stage that draws labels: the MixGCF negatives that a language model is tuned towards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hardneg import artifacts
from hardneg.config import parse_config, read_yaml
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning.linear_maps import procrustes, rotate
from hardneg.mining import LabelOptions, labels
from hardneg.models import LightGCNModel, build_model
from hardneg.pipeline.provenance import split_inputs, validation_note
from hardneg.pipeline.text import text_projection
from hardneg.pipeline.training import RUN, RunConfig, run_inputs
from hardneg.sampling import MixGCF
from hardneg.stage import Draft, Stage
from hardneg.storage import read_tensors
from hardneg.text import TextVectors, text_vectors
from hardneg.types import Embeddings, Floats, Progress

TRAINED = ("config.yaml", "model.safetensors")
"""Files of a run that determine its labels."""
TOLERANCE = 1e-3
"""Largest difference between recomputed and stored tables, as a share of a table's largest number."""


def labels_stage(
    split_dir: Path,
    run_dir: Path,
    options: LabelOptions,
    progress: Progress | None = None,
    *,
    onto: Path | None = None,
    map_seed: int = 0,
) -> Stage:
    """Return the stage that draws labels for every train pair from a MixGCF run of this split.

    onto: a vectors folder of this split. Labels and tables are then rotated alike (Procrustes), so that items lie as near
    as possible to the places of their texts (`text_projection`, map_seed), which are the same in all datasets.
    Raises ConfigError for a run of another split or sampler; the stage raises DataError where the run's files do not fit.
    """
    config = read_mixgcf_config(run_dir, split_dir)
    mixgcf = config.sampler
    assert isinstance(mixgcf, MixGCF)
    inputs = split_inputs(split_dir, onto=(onto, text_vectors.KIND))
    inputs["run"] = artifacts.folder_hash(run_dir, TRAINED)  # not the whole folder: it may hold an evaluation
    settings: dict[str, Any] = {"mixgcf": mixgcf.model_dump(mode="json"), **options.model_dump(mode="json")}
    settings |= {} if onto is None else {"map seed": map_seed}

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        model = rebuild_backbone(run_dir, config, split.train)
        embeddings = rebuild_embeddings(model, run_dir)
        drawn = labels.draw_label_vectors(embeddings, split.train, mixgcf, options, progress=progress)
        items = embeddings.final_items.numpy()
        draft.notes |= {"pairs": len(split.train), **validation_note(split_dir)}
        draft.notes |= labels.compare_with_positives(drawn.vectors, items, split.train)
        if onto is not None:
            places = text_projection(onto, len(items), items.shape[1], seed=map_seed)
            drawn, embeddings = _rotate(drawn, embeddings, procrustes(items, places))
            draft.notes["items without a text, rotated with the others"] = int(np.isnan(places[:, 0]).sum())
            draft.notes["cosine of items with their texts before"] = labels.mean_cosine(items, places)
            draft.notes["cosine of items with their texts"] = labels.mean_cosine(embeddings.final_items.numpy(), places)
        if isinstance(model, LightGCNModel):
            draft.notes["graph kernel"] = model.graph.kernel(torch.device("cpu"))  # kernels differ in their last bits
        sources = labels.tabulate_sources(drawn, split.train, split.vocabulary)
        labels.write_labels(draft, drawn, embeddings, sources)

    return Stage(labels.KIND, settings, inputs, build)


def read_mixgcf_config(run_dir: Path, split_dir: Path) -> RunConfig:
    """Return the settings of a run, after checking that it is a MixGCF run of this split."""
    inputs = artifacts.read_manifest(run_dir, RUN)["inputs"]
    if any(inputs.get(name) != digest for name, digest in run_inputs(split_dir).items()):
        raise ConfigError(f"{run_dir} was not trained on {split_dir}; give a run that was trained on this split")
    values, _ = read_yaml(run_dir / "config.yaml")
    config: RunConfig = parse_config(RunConfig, values, where=str(run_dir / "config.yaml"))
    if not isinstance(config.sampler, MixGCF):
        raise ConfigError(
            f"{run_dir} was trained with sampler {config.sampler.kind!r}, expected 'mixgcf', whose negatives "
            "labels are; train one with --sampler mixgcf"
        )
    return config


def rebuild_backbone(
    run_dir: Path, config: RunConfig, train: Interactions, texts: TextVectors | None = None
) -> nn.Module:
    """Return the trained backbone of a run folder, on the CPU. texts: for a model that reads text."""
    model = build_model(config.model, train, texts, seed=config.fit.seed)
    path = run_dir / "model.safetensors"
    try:
        model.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} does not fit the model of config.yaml ({first}); train the run again") from None
    return model


def rebuild_embeddings(model: nn.Module, run_dir: Path) -> Embeddings:
    """Recompute the hop tables, and check that they pool to what the run stored."""
    with torch.no_grad():
        embeddings: Embeddings = model()
        made = {"users": embeddings.final_users.detach(), "items": embeddings.final_items.detach()}
    stored = read_tensors(run_dir / "embeddings.safetensors", *made)
    for name, table in made.items():
        bound = TOLERANCE * float(table.abs().max())
        if stored[name].shape != table.shape or float((stored[name] - table).abs().max()) > bound:
            raise DataError(
                f"the {name} of {run_dir / 'embeddings.safetensors'} are not those that its model computes on "
                "this split; train the run again"
            )
    users, items = (tuple(table.detach() for table in side) for side in (embeddings.users, embeddings.items))
    return Embeddings(users, items, embeddings.pooling, (made["users"], made["items"]))


def _rotate(drawn: labels.LabelDraws, embeddings: Embeddings, rotation: Floats) -> tuple[labels.LabelDraws, Embeddings]:
    """Apply one rotation to labels and pooled tables."""
    made = replace(drawn, vectors=rotate(drawn.vectors, rotation), each=rotate(drawn.each, rotation))
    users, items = (
        torch.from_numpy(rotate(table.numpy(), rotation)) for table in (embeddings.final_users, embeddings.final_items)
    )
    return made, Embeddings((users,), (items,), "mean")
