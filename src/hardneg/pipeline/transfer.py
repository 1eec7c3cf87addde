"""Transfer (HNLMRec's P1): one language model tuned on several datasets, for use on others."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.finetuning.inputs import LabelledPairs, draw_pairs, pool_sets, rescale_inputs, select_pairs, set_numbers
from hardneg.finetuning.linear_maps import random_rotation, rotate
from hardneg.llm.local.weights import ModelSource
from hardneg.mining import labels
from hardneg.pipeline.provenance import POOLED, dataset_of, inherited_note, split_inputs
from hardneg.pipeline.tuning import TUNED, FinetuneConfig, Material, read_pair_inputs, tune_from, tuning_inputs
from hardneg.stage import Draft, Stage
from hardneg.types import Progress


@dataclass(frozen=True)
class TuningSet:
    """The folders of one dataset: a split, and profiles and labels of it."""

    split: Path
    profiles: Path
    labels: Path


def tune_pooled_stage(
    sets: Sequence[TuningSet],
    source: ModelSource,
    config: FinetuneConfig,
    progress: Progress | None = None,
    *,
    pairs_each: int | None = None,
) -> Stage:
    """Return the stage that tunes a base on the train pairs of several datasets, for synthesis on any dataset.

    Embeddings and labels of each dataset are `rescale_inputs`. They are comparable between datasets only where they were
    brought into one space before: backbones trained with an anchor, or labels made `onto` the texts. This is not checked.
    pairs_each: the largest number of pairs of a dataset, the front of `draw_pairs`. `config.tuning.pairs` counts the pairs
    of the union, in which large datasets weigh more. In-batch negatives come from the same dataset.
    Raises ConfigError without datasets.
    """
    if not sets:
        raise ConfigError("found no dataset to tune on, expected at least one")
    inputs = {"base": source.identity()}
    for number, dataset in enumerate(sets, 1):
        own = tuning_inputs(dataset.split, dataset.profiles, dataset.labels) | {"dataset": dataset_of(dataset.split)}
        inputs |= {f"{name} {number}": digest for name, digest in own.items()}
    settings = {"base": source.name, **config.model_dump(mode="json"), POOLED: len(sets), "pairs each": pairs_each}

    def read() -> Material:
        whole = [read_rescaled_pairs(dataset) for dataset in sets]
        thinned = [select_pairs(one, draw_pairs(len(one[0].pairs))[:pairs_each]) for one in whole]
        return *pool_sets(thinned), set_numbers(thinned)

    origin = [dataset.labels for dataset in sets]
    return Stage(
        TUNED,
        settings,
        inputs,
        partial(tune_from, source=source, config=config, read=read, origin=origin, progress=progress),
    )


def read_rescaled_pairs(dataset: TuningSet) -> LabelledPairs:
    """Return what a pooled model is shown of a dataset, and its labels."""
    pairs, targets = read_pair_inputs(splits.read_split(dataset.split), dataset.profiles, dataset.labels)
    return rescale_inputs(pairs, targets.vectors)


def rotate_labels_stage(split_dir: Path, labels_dir: Path, *, seed: int = 0) -> Stage:
    """Return the stage of a control: labels and embeddings of a labels folder under one random rotation.

    Within the dataset nothing changes, since all inner products stay. A model that was tuned on other data and uses e_u
    and e_v must get worse; if it does not, it does not use them.
    """
    inputs = split_inputs(split_dir, labels=(labels_dir, labels.KIND))
    inputs["run"] = str(artifacts.read_manifest(labels_dir, labels.KIND)["inputs"]["run"])

    def build(draft: Draft) -> None:
        targets = labels.read_labels(labels_dir, splits.read_split(split_dir).train)
        rotation = random_rotation(targets.items.shape[1], seed=seed)
        draft.notes |= {"pairs": len(targets.vectors), **inherited_note(labels_dir)}
        for name in (labels.VECTORS, labels.USERS, labels.ITEMS):
            np.save(draft.folder / name, rotate(np.load(labels_dir / name, allow_pickle=False), rotation))
        shutil.copy(labels_dir / labels.SOURCES, draft.folder / labels.SOURCES)

    return Stage(labels.KIND, {"rotated with seed": seed}, inputs, build)
