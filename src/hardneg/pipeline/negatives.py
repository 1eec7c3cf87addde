"""Stages of the negatives room: retrieved negatives, and controls made from other folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import polars as pl

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.mining import RetrievalConfig, controls, labels
from hardneg.mining.retrieval import retrieve_items, tabulate_retrieval
from hardneg.pipeline.costs import needed_by
from hardneg.pipeline.provenance import hash_of_same_split, inherited
from hardneg.random import generator
from hardneg.sampling import mined
from hardneg.text import TextEncoder, item_texts, profiles
from hardneg.types import Progress

NOTHING_REFUSED = pl.DataFrame(schema={"user_id": pl.String})


def mine_retrieved(
    split_folder: Path,
    profile_folder: Path,
    out: Path,
    options: RetrievalConfig,
    encoder: TextEncoder,
    progress: Progress | None = None,
) -> None:
    """Retrieve text negatives for every train pair into a negatives folder."""
    settings = {"method": "retrieved", "encoder": encoder.name, **options.model_dump()}
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "profiles": hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "encoder": encoder.identity,
    }
    if artifacts.is_finished(out, artifacts.artifact_key(mined.KIND, settings, inputs)):
        return
    data, written = splits.read_split(split_folder), profiles.read_profiles(profile_folder)
    texts = item_texts(data.texts)
    vectors = encoder.encode([*texts, *written.users], progress)
    items, users = vectors[: len(texts)], vectors[len(texts) :]
    found = retrieve_items(data.train, items, users, options, progress)
    source = f"retrieved, {encoder.name}"
    made, table, refused = tabulate_retrieval(found, data.train, data.vocabulary, texts, items, source)
    mined.write_negatives(out, made, table, refused, config=settings, inputs=inputs)


def mine_random(split_folder: Path, like: Path, out: Path, seed: int) -> None:
    """The control: random vectors of the norms of another negatives folder, missing where those are missing."""
    settings = {"method": "random", "seed": seed}
    inputs = _like(split_folder, like)
    if artifacts.is_finished(out, artifacts.artifact_key(mined.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    made = controls.random_control(
        mined.read_negatives(like, data.vocabulary, len(data.train)), generator(seed, "random vectors")
    )
    nothing, notes = pl.DataFrame(schema=mined.SCHEMA), inherited(like)
    mined.write_negatives(out, made, nothing, NOTHING_REFUSED, config=settings, inputs=inputs, notes=notes)


def mine_shuffled(split_folder: Path, like: Path, out: Path, seed: int) -> None:
    """The control: another negatives folder with its pair rows permuted."""
    settings = {"method": "shuffled", "seed": seed}
    inputs = _like(split_folder, like)
    if artifacts.is_finished(out, artifacts.artifact_key(mined.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    order = generator(seed, "shuffled pairs").permutation(len(data.train))
    made = controls.shuffled_control(mined.read_negatives(like, data.vocabulary, len(data.train)), order)
    table = controls.shuffle_table(read_parquet(like / "negatives.parquet"), order, data.train, data.vocabulary)
    costs = needed_by(like).as_costs() | {"llm_calls": 0, "llm_tokens": 0, "money": 0.0}
    notes = inherited(like)
    mined.write_negatives(out, made, table, NOTHING_REFUSED, config=settings, inputs=inputs, notes=notes, costs=costs)


def mine_from_labels(split_folder: Path, label_folder: Path, out: Path, what: Literal["positive", "labels"]) -> None:
    """The controls without any model in between: the positive's own embedding, or the label itself, as e_hard."""
    settings: dict[str, Any] = {"method": what}
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "labels": hash_of_same_split(label_folder, labels.KIND, split_folder),
    }
    if artifacts.is_finished(out, artifacts.artifact_key(mined.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    given = labels.read_labels(label_folder, data.train)
    made = controls.labels_control(given) if what == "labels" else controls.positives_control(given, data.train)
    nothing, notes = pl.DataFrame(schema=mined.SCHEMA), inherited(label_folder)
    mined.write_negatives(out, made, nothing, NOTHING_REFUSED, config=settings, inputs=inputs, notes=notes)


def _like(split_folder: Path, like: Path) -> dict[str, str]:
    """Hashes of what a control of another negatives folder is made from."""
    return {
        "training data": splits.training_data_hash(split_folder),
        "like": hash_of_same_split(like, mined.KIND, split_folder),
    }
