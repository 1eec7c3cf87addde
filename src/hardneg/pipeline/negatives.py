"""Stages that make negatives without a language model: retrieval, and controls derived from other artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.mining import RetrievalConfig, labels, retrieval
from hardneg.mining.retrieval import retrieve_items, tabulate_retrieval
from hardneg.pipeline.provenance import inherited_note, needs_of, split_inputs
from hardneg.pipeline.text import read_vectors, vector_inputs
from hardneg.random import generator
from hardneg.sampling import ItemNeighbours, mined
from hardneg.sampling.mined import NeighbourSource
from hardneg.stage import Draft, Stage
from hardneg.text import ItemVectors, TextEncoder, item_texts, profiles, require_item_texts
from hardneg.types import Floats, Progress


def retrieve_stage(
    split_dir: Path,
    profiles_dir: Path | None,
    config: RetrievalConfig,
    encoder: TextEncoder | ItemVectors,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage that retrieves catalogue items, near in text to the positive and the profile, as negatives.

    With own vectors of items there are no profiles: an item is near to the positive and to the mean of the train items.
    """
    settings = {"method": "retrieved", "encoder": encoder.name, **config.model_dump()}
    inputs = vector_inputs(split_dir, profiles_dir, encoder)

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        vectors = read_vectors(split, profiles_dir, encoder, progress)
        retrieval = retrieve_items(split.train, split.owned, vectors.items, vectors.users, config, progress)
        source, texts = f"retrieved, {encoder.name}", item_texts(split.texts)
        by = encoder.name if isinstance(encoder, ItemVectors) else "text"
        tables = tabulate_retrieval(retrieval, split.train, split.vocabulary, texts, vectors.items, source, by)
        mined.write_negatives(draft, *tables)

    return Stage(mined.KIND, settings, inputs, build)


def random_negatives_stage(split_dir: Path, like: Path, seed: int) -> Stage:
    """Return the stage of a control: random vectors with the norms, and the gaps, of another negatives folder."""
    inputs = split_inputs(split_dir, like=(like, mined.KIND))

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        original = mined.read_negatives(like, split.vocabulary, len(split.train))
        mined.write_negatives(draft, labels.random_control(original, generator(seed, "random vectors")))
        draft.notes |= inherited_note(like)

    return Stage(mined.KIND, {"method": "random", "seed": seed}, inputs, build)


def shuffled_negatives_stage(split_dir: Path, like: Path, seed: int) -> Stage:
    """Return the stage of a control: another negatives folder whose rows are assigned to other pairs at random."""
    inputs = split_inputs(split_dir, like=(like, mined.KIND))

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        order = generator(seed, "shuffled pairs").permutation(len(split.train))
        shuffled = labels.shuffled_control(mined.read_negatives(like, split.vocabulary, len(split.train)), order)
        table = read_parquet(like / "negatives.parquet")
        mined.write_negatives(draft, shuffled, labels.shuffle_table(table, order, split.train, split.vocabulary))
        has = split.owned.contains(split.train.users[:, None], np.maximum(shuffled.items, 0)) & (shuffled.items >= 0)
        draft.notes |= inherited_note(like) | {"items that the user has, under any id": int(has.sum())}
        draft.write_costs(needs_of(like).without_own_calls())

    return Stage(mined.KIND, {"method": "shuffled", "seed": seed}, inputs, build)


def labels_control_stage(split_dir: Path, labels_dir: Path, method: Literal["positive", "labels"]) -> Stage:
    """Return the stage of a control without a model: the positive's own embedding, or the label itself, as e_hard."""
    inputs = split_inputs(split_dir, labels=(labels_dir, labels.KIND))

    def build(draft: Draft) -> None:
        train = splits.read_split(split_dir).train
        targets = labels.read_labels(labels_dir, train)
        control = labels.labels_control(targets) if method == "labels" else labels.positives_control(targets, train)
        mined.write_negatives(draft, control)
        draft.notes |= inherited_note(labels_dir)

    return Stage(mined.KIND, {"method": method}, inputs, build)


def neighbours_stage(
    split_dir: Path,
    by: NeighbourSource,
    *,
    k: int = 10,
    encoder: TextEncoder | ItemVectors | None = None,
    profiles_dir: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage that finds k neighbours of every item.

    encoder: for "text" only, of item texts, or of item profiles where these are given; or own vectors of items. seed: for
    "random" only. Raises ConfigError without a needed encoder, and for own vectors with profiles.
    """
    settings: dict[str, Any] = {"by": by, "k": k} | ({"seed": seed} if by == "random" else {})
    described = {} if profiles_dir is None else {"profiles": (profiles_dir, profiles.KIND)}
    inputs = split_inputs(split_dir, **described)
    if by == "text":
        used = _require_source(encoder, profiles_dir)
        settings["encoder"], inputs["encoder"] = used.name, used.identity

    def search(split: Split) -> ItemNeighbours:
        if by == "co-occurrence":
            return retrieval.find_by_co_occurrence(split.train, k)
        if by == "random":
            return retrieval.draw_at_random(split.train.n_items, k, generator(seed, "random neighbours"))
        assert encoder is not None
        vectors, source = _item_vectors(split, encoder, profiles_dir, progress)
        return ItemNeighbours(retrieval.text_neighbours(vectors, k)[0], source)

    def build(draft: Draft) -> None:
        mined.write_neighbours(draft, search(splits.read_split(split_dir)))
        if profiles_dir is not None:
            draft.write_costs(needs_of(profiles_dir).as_costs())

    return Stage(mined.NEIGHBOURS, settings, inputs, build)


def _require_source(encoder: TextEncoder | ItemVectors | None, profiles_dir: Path | None) -> TextEncoder | ItemVectors:
    """Return the encoder or the own vectors. Raises ConfigError without one, and for own vectors with profiles."""
    if encoder is None:
        raise ConfigError("found no encoder, expected one for neighbours by text; give an encoder")
    if isinstance(encoder, ItemVectors) and profiles_dir is not None:
        raise ConfigError("found own vectors with profiles, expected one of them; leave one out")
    return encoder


def _item_vectors(
    split: Split, encoder: TextEncoder | ItemVectors, profiles_dir: Path | None, progress: Progress | None
) -> tuple[Floats, str]:
    """Return own vectors, or those of item texts or item profiles, and their source."""
    if isinstance(encoder, ItemVectors):
        return encoder.read(split.vocabulary.item_ids), encoder.name
    written = None if profiles_dir is None else profiles.read_profiles(profiles_dir)
    texts = require_item_texts(split.texts) if written is None else written.items
    source = "text" if written is None else f"{written.source} profiles"
    return encoder.encode(texts, progress), f"{source}, {encoder.name}"
