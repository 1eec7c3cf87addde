"""The labels stage: from a finished MixGCF run to what a language model is tuned towards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hardneg import artifacts
from hardneg.config import parse_config, read_yaml
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.diagnostics import mean_cosine
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning.alignment import procrustes, rotated
from hardneg.mining import LabelOptions, labels
from hardneg.models import LightGCNModel
from hardneg.pipeline.provenance import chosen_by, hash_of_same_split
from hardneg.pipeline.text_projection import text_projection
from hardneg.pipeline.training import RUN, RunConfig, run_inputs
from hardneg.sampling import MixGCF
from hardneg.text import text_vectors
from hardneg.types import Embeddings, Floats, Progress

TRAINED = ("config.yaml", "model.safetensors")
"""The files of a run that labels follow from."""
TOLERANCE = 1e-3
"""Largest difference, as a share of a table's largest number, between tables made again and those that the run stored."""


def draw_label_folder(
    split_folder: Path,
    run_folder: Path,
    out: Path,
    options: LabelOptions,
    progress: Progress | None = None,
    *,
    onto: Path | None = None,
    map_seed: int = 0,
) -> None:
    """Make labels for every train pair from a run whose sampler was mixgcf, trained on this split; a labels folder.

    onto: a vectors folder of this split. Labels and tables are then turned alike (Procrustes), so that items come to lie
    as near as they can to their texts' places (`text_projection`, map_seed), which are the same in all sets of data.
    Raises ConfigError for a run of another split or sampler, DataError where the run's files do not fit each other.
    """
    config = _mixgcf_run(run_folder, split_folder)
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "run": artifacts.folder_hash(run_folder, TRAINED),  # not the whole folder: it may hold an evaluation
    }
    mixgcf = config.sampler
    assert isinstance(mixgcf, MixGCF)
    settings: dict[str, Any] = {"mixgcf": mixgcf.model_dump(mode="json"), **options.model_dump(mode="json")}
    if onto is not None:
        inputs["onto"] = hash_of_same_split(onto, text_vectors.KIND, split_folder)
        settings["map seed"] = map_seed
    if artifacts.is_finished(out, artifacts.artifact_key(labels.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    model = rebuild(run_folder, config, data.train)
    embeddings = _tables(model, run_folder)
    drawn = labels.draw_label_vectors(embeddings, data.train, mixgcf, options, progress=progress)
    items = embeddings.final_items.numpy()
    notes: dict[str, Any] = {"pairs": len(data.train), **chosen_by(split_folder)}
    notes |= labels.compare_with_positives(drawn.vectors, items, data.train)
    if onto is not None:
        places = text_projection(onto, len(items), items.shape[1], seed=map_seed)
        drawn, embeddings = _turned(drawn, embeddings, procrustes(items, places))
        notes["items without a text, turned with the others"] = int(np.isnan(places[:, 0]).sum())
        notes["cosine of items with their texts before"] = mean_cosine(items, places)
        notes["cosine of items with their texts"] = mean_cosine(embeddings.final_items.numpy(), places)
    if isinstance(model, LightGCNModel):
        notes["graph kernel"] = model.graph.kernel(torch.device("cpu"))  # another kernel, other last bits
    sources = labels.tabulate_sources(drawn, data.train, data.vocabulary)
    labels.write_labels(out, drawn, embeddings, sources, config=settings, inputs=inputs, notes=notes)


def made_by(
    split_folder: Path, run_folder: Path, label_folder: Path, train: Interactions
) -> tuple[Embeddings, MixGCF, LabelOptions]:
    """The tables, sampler and options that labels were drawn with, to draw further ones alike.

    Raises ConfigError where the labels come from another run, or were turned after they were drawn.
    """
    config = _mixgcf_run(run_folder, split_folder)
    manifest = artifacts.read_manifest(label_folder, labels.KIND)
    if manifest["inputs"]["run"] != artifacts.folder_hash(run_folder, TRAINED):
        raise ConfigError(f"{label_folder} was not made from {run_folder}; give the run that these labels come from")
    if "onto" in manifest["inputs"] or "turned at random" in manifest["config"]:
        raise ConfigError(
            f"{label_folder} was turned after it was drawn (onto texts, or at random), so that further draws lie "
            "elsewhere; give labels made without --onto, or leave the run out"
        )
    assert isinstance(config.sampler, MixGCF)
    said = {name: value for name, value in manifest["config"].items() if name != "mixgcf"}
    options: LabelOptions = parse_config(LabelOptions, said, where=str(label_folder / artifacts.MANIFEST))
    return _tables(rebuild(run_folder, config, train), run_folder), config.sampler, options


def _mixgcf_run(run_folder: Path, split_folder: Path) -> RunConfig:
    """The settings of a run, once it is sure that it is one of MixGCF on this split."""
    made_from = artifacts.read_manifest(run_folder, RUN)["inputs"]
    if any(made_from.get(name) != found for name, found in run_inputs(split_folder, None).items()):
        raise ConfigError(f"{run_folder} was not trained on {split_folder}; give a run that was trained on this split")
    values, _ = read_yaml(run_folder / "config.yaml")
    config: RunConfig = parse_config(RunConfig, values, where=str(run_folder / "config.yaml"))
    if not isinstance(config.sampler, MixGCF):
        raise ConfigError(
            f"{run_folder} was trained with sampler {config.sampler.kind!r}, expected 'mixgcf', whose negatives "
            "labels are; train one with --sampler mixgcf"
        )
    return config


def rebuild(run_folder: Path, config: RunConfig, train: Interactions) -> nn.Module:
    """The trained backbone of a run folder, on the CPU: built from its settings, with its trained tables put in."""
    model = config.model.build(train, seed=config.fit.seed)
    try:
        model.load_state_dict(load_file(run_folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{run_folder / 'model.safetensors'} cannot be read ({first}); train the run again") from None
    return model


def _tables(model: nn.Module, run_folder: Path) -> Embeddings:
    """The hop tables made again, once it is sure that they pool to what the run stored."""
    with torch.no_grad():
        embeddings: Embeddings = model()
        made = {"users": embeddings.final_users.detach(), "items": embeddings.final_items.detach()}
    try:
        stored = load_file(run_folder / "embeddings.safetensors")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{run_folder} cannot be read ({error}); train the run again") from None
    for name, table in made.items():
        bound = TOLERANCE * float(table.abs().max())
        if stored[name].shape != table.shape or float((stored[name] - table).abs().max()) > bound:
            raise DataError(
                f"the {name} of {run_folder / 'embeddings.safetensors'} are not those that its model makes on this "
                "split; train the run again"
            )
    users, items = (tuple(table.detach() for table in side) for side in (embeddings.users, embeddings.items))
    return Embeddings(users, items, embeddings.pooling, (made["users"], made["items"]))


def _turned(drawn: labels.LabelDraws, embeddings: Embeddings, rotation: Floats) -> tuple[labels.LabelDraws, Embeddings]:
    """Labels and pooled tables after one rotation."""
    made = replace(drawn, vectors=rotated(drawn.vectors, rotation), each=rotated(drawn.each, rotation))
    users, items = (
        torch.from_numpy(rotated(table.numpy(), rotation)) for table in (embeddings.final_users, embeddings.final_items)
    )
    return made, Embeddings((users,), (items,), "mean")
