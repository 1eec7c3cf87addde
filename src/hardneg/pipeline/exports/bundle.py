"""A bundle: the scores of a run, item titles and all known pairs, which recommends without its split."""

from __future__ import annotations

import shutil

import polars as pl

from hardneg.data import columns as c
from hardneg.pipeline.exports.inputs import ExportInputs
from hardneg.pipeline.inference import SCORES, TRAIN
from hardneg.pipeline.item_weights import WEIGHTS
from hardneg.stage import Draft


def write_bundle(draft: Draft, given: ExportInputs) -> None:
    """Copy embeddings and ids of the run, and write the known pairs: train, held-out and filtered ones.

    `open_recommender` reads the folder as it reads a run.
    """
    split = given.read_split()
    for name in ("users.parquet", *SCORES):
        if (given.source / name).is_file():
            shutil.copyfile(given.source / name, draft.folder / name)
    if (given.source / WEIGHTS).is_file():
        shutil.copyfile(given.source / "seen.parquet", draft.folder / TRAIN)
    named = [name for name in (c.ITEM_ID, c.TITLE, c.BRAND) if name in split.texts.columns]
    split.texts.select(named).write_parquet(draft.folder / "items.parquet")
    pairs = pl.DataFrame({c.USER: split.known.users, c.ITEM: split.known.items})
    pairs.write_parquet(draft.folder / "seen.parquet")
    draft.notes |= {"users": split.train.n_users, "items": split.train.n_items, "known pairs": len(pairs)}
