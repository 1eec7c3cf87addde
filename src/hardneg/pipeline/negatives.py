"""Stages of the negatives room: retrieved negatives and the random control."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.negatives import Retrieved, mined, random_like
from hardneg.negatives.retrieved import retrieve, tabulate
from hardneg.pipeline.origins import hash_of_same_split
from hardneg.random import generator
from hardneg.text import TextEncoder, item_texts, profiles
from hardneg.types import Progress


def mine_retrieved(
    split_folder: Path,
    profile_folder: Path,
    out: Path,
    options: Retrieved,
    encoder: TextEncoder,
    progress: Progress | None = None,
) -> None:
    """Retrieve text negatives for every train pair into a negatives folder."""
    settings = {"method": "retrieved", "encoder": encoder.name, **options.model_dump()}
    inputs = {
        "learnt from": splits.learnt_from_hash(split_folder),
        "profiles": hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "encoder": encoder.identity,
    }
    if artifacts.finished(out, artifacts.key_of(mined.KIND, settings, inputs)):
        return
    data, written = splits.read(split_folder), profiles.read(profile_folder)
    texts = item_texts(data.texts)
    vectors = encoder.encode([*texts, *written.users], progress)
    items, users = vectors[: len(texts)], vectors[len(texts) :]
    found = retrieve(data.train, items, users, options, progress)
    source = f"retrieved, {encoder.name}"
    made, table, refused = tabulate(found, data.train, data.vocabulary, texts, items, source)
    mined.write(out, made, table, refused, config=settings, inputs=inputs)


def mine_random(split_folder: Path, like: Path, out: Path, seed: int) -> None:
    """The control: random vectors of the norms of another negatives folder, missing where those are missing."""
    settings = {"method": "random", "seed": seed}
    inputs = {
        "learnt from": splits.learnt_from_hash(split_folder),
        "like": hash_of_same_split(like, mined.KIND, split_folder),
    }
    if artifacts.finished(out, artifacts.key_of(mined.KIND, settings, inputs)):
        return
    data = splits.read(split_folder)
    made = random_like(mined.read(like, data.vocabulary, len(data.train)), generator(seed, "random vectors"))
    nothing = pl.DataFrame(schema=mined.SCHEMA)
    refused = pl.DataFrame(schema={"user_id": pl.String})
    mined.write(out, made, nothing, refused, config=settings, inputs=inputs)
