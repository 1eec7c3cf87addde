"""A control of transfer: labels and embeddings of a labels folder under one random rotation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.finetuning.linear_maps import random_rotation, rotate
from hardneg.mining import labels
from hardneg.pipeline.provenance import inherited_note, split_inputs
from hardneg.stage import Draft, Stage


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
