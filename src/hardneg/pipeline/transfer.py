"""Transfer (HNLMRec's P1): one language model tuned on several sets of data, to write for a set that it may never have seen."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.finetuning.alignment import random_rotation, rotated
from hardneg.finetuning.pooling import LabelledPairs, draw_pairs, pool_sets, rescaled, select_pairs, set_numbers
from hardneg.llm.local.weights import ModelSource
from hardneg.mining import labels
from hardneg.pipeline.provenance import POOLED, dataset_of, hash_of_same_split, inherited
from hardneg.pipeline.tuning import FinetuneConfig, Material, made_from, pair_inputs, tune_into
from hardneg.types import Progress


@dataclass(frozen=True)
class TuningSet:
    """The folders of a set of data: a split, and profiles and labels of it."""

    split: Path
    profiles: Path
    labels: Path


def finetune_pooled(
    sets: Sequence[TuningSet],
    out: Path,
    source: ModelSource,
    config: FinetuneConfig,
    progress: Progress | None = None,
    *,
    pairs_each: int | None = None,
) -> None:
    """Tune a base on the train pairs of several sets; a tuned folder, for `mine_synthesised` of any set.

    Embeddings and labels of each set are shown `rescaled`. They mean the same in every set only where they were brought
    into one space before: backbones trained with an anchor, or labels made `onto` the texts; nothing here can tell.
    pairs_each: at most so many pairs of every set, the front of `draw_pairs`. `config.tuning.pairs` counts those of all sets
    together, drawn from their union, in which large sets count for more. In-batch negatives are of one's own set. Raises ConfigError without sets. Killed, it goes on as `finetune` does.
    """
    if not sets:
        raise ConfigError("found no set of data to tune on, expected at least one")
    inputs = {"base": source.identity()}
    for number, one in enumerate(sets, 1):
        origin = made_from(one.split, one.profiles, one.labels) | {"dataset": dataset_of(one.split)}
        inputs |= {f"{name} {number}": found for name, found in origin.items()}
    numbered = enumerate(sets, 1)
    chosen = {f"{name} {number}": valid for number, one in numbered for name, valid in inherited(one.labels).items()}
    settings = {"base": source.name, **config.model_dump(mode="json"), POOLED: len(sets), "pairs each": pairs_each}

    def read() -> Material:
        whole = [rescaled_inputs(one) for one in sets]
        shown = [select_pairs(one, draw_pairs(len(one[0].pairs))[:pairs_each]) for one in whole]
        return *pool_sets(shown), set_numbers(shown)

    tune_into(out, source, config, read, settings=settings, inputs=inputs, chosen=chosen, progress=progress)


def rescaled_inputs(one: TuningSet) -> LabelledPairs:
    """What a pooled model is shown of a set, and its labels."""
    shown, given = pair_inputs(splits.read_split(one.split), one.profiles, one.labels)
    return rescaled(shown, given.vectors)


def turn_labels(split_folder: Path, label_folder: Path, out: Path, *, seed: int = 0) -> None:
    """The control: labels and embeddings of a labels folder, turned alike by one random rotation; a labels folder.

    Within the set nothing changes, all inner products stay. A model that was tuned elsewhere and reads e_u and e_v must
    get worse on them; if it does not, it did not use them.
    """
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "labels": hash_of_same_split(label_folder, labels.KIND, split_folder),
        "run": str(artifacts.read_manifest(label_folder, labels.KIND)["inputs"]["run"]),
    }
    settings = {"turned at random": seed}
    if artifacts.is_finished(out, artifacts.artifact_key(labels.KIND, settings, inputs)):
        return
    given = labels.read_labels(label_folder, splits.read_split(split_folder).train)
    rotation = random_rotation(given.items.shape[1], seed=seed)
    notes = {"pairs": len(given.vectors), **inherited(label_folder)}
    with artifacts.writing(out, labels.KIND, settings, inputs, notes) as folder:
        for name in (labels.VECTORS, labels.USERS, labels.ITEMS):
            np.save(folder / name, rotated(np.load(label_folder / name, allow_pickle=False), rotation))
        shutil.copy(label_folder / labels.SOURCES, folder / labels.SOURCES)
