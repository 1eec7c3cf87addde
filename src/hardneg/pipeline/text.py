"""Stages that make texts: extractive profiles, and texts as vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation.fusion import center_rows, mean_of_items
from hardneg.finetuning.linear_maps import orthogonal
from hardneg.models import ModelConfig, TextModelConfig
from hardneg.pipeline.provenance import needs_of, split_inputs
from hardneg.random import generator
from hardneg.stage import Draft, Stage
from hardneg.text import ItemVectors, Profiles, TextEncoder, TextVectors, extract_profiles, profiles, text_vectors
from hardneg.text.text_vectors import ItemSource
from hardneg.text.texts import require_item_texts, shuffle_item_texts
from hardneg.types import Floats, Progress

TEXTS = "texts"
"""Note of a run: origin of the text vectors that its model reads."""
ADAPTED = "adapted from"
"""Part of that note: the task for which the method was published, if it is another."""


def extract_profiles_stage(split_dir: Path, *, shuffle_titles: int | None = None, users: bool = True) -> Stage:
    """Return the stage that extracts item and user profiles from the training data.

    shuffle_titles: a seed, for the control in which the texts of items are shuffled among them first. users: False
    leaves the profiles of users blank.
    """
    settings: dict[str, Any] = {"method": profiles.SOURCE}
    if shuffle_titles is not None:
        settings["titles shuffled with seed"] = shuffle_titles
    if not users:
        settings["users"] = False

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        if split.reviews.is_empty():
            require_item_texts(split.texts)
        if shuffle_titles is None:
            extracted = extract_profiles(split)
        else:
            extracted = extract_profiles(shuffle_item_texts(split, generator(shuffle_titles, "shuffled titles")))
            source = f"{extracted.source}, titles shuffled among items (seed {shuffle_titles})"
            extracted = replace(extracted, source=source)
        if not users:
            extracted = replace(extracted, users=[""] * len(extracted.users))
        profiles.write_profiles(draft, extracted, split)

    return Stage(profiles.KIND, settings, split_inputs(split_dir), build)


def shuffle_profiles_stage(split_dir: Path, profiles_dir: Path, seed: int = 0) -> Stage:
    """Return the stage of a control: item profiles permuted among items, and user profiles among users."""
    settings = {"method": "shuffled", "seed": seed}
    inputs = split_inputs(split_dir, like=(profiles_dir, profiles.KIND))

    def build(draft: Draft) -> None:
        written, rng = profiles.read_profiles(profiles_dir), generator(seed, "shuffled profiles")
        items, users = ([side[row] for row in rng.permutation(len(side))] for side in (written.items, written.users))
        shuffled = Profiles(items, users, f"{written.source}, shuffled (seed {seed})")
        profiles.write_profiles(draft, shuffled, splits.read_split(split_dir))
        draft.write_costs(needs_of(profiles_dir).as_costs())

    return Stage(profiles.KIND, settings, inputs, build)


def vector_inputs(split_dir: Path, profiles_dir: Path | None, encoder: TextEncoder | ItemVectors) -> dict[str, str]:
    """Return the hashes of what `read_vectors` reads.

    Raises ConfigError where an encoder has no profiles to encode, or own vectors of items come with profiles.
    """
    if isinstance(encoder, ItemVectors) == (profiles_dir is not None):
        found = "own vectors with profiles" if profiles_dir else "no profiles"
        raise ConfigError(f"found {found}, expected profiles and a text encoder, or own vectors alone")
    described = {} if profiles_dir is None else {"profiles": (profiles_dir, profiles.KIND)}
    return split_inputs(split_dir, **described) | {"encoder": encoder.identity}


def read_vectors(
    split: Split,
    profiles_dir: Path | None,
    encoder: TextEncoder | ItemVectors,
    progress: Progress | None = None,
    *,
    items: ItemSource = "texts",
) -> TextVectors:
    """Return vectors of items and users: encoded texts and profiles, or own vectors and their means over train items."""
    if isinstance(encoder, ItemVectors):
        own = encoder.read(split.vocabulary.item_ids)
        return TextVectors(own, mean_of_items(split.train, own), encoder.name)
    assert profiles_dir is not None
    return text_vectors.encode_texts(split, profiles.read_profiles(profiles_dir), encoder, progress, items=items)


def text_tables(
    vectors: TextVectors, train: Interactions, *, profile: Literal["profiles", "items"], centred: bool
) -> TextVectors:
    """Return the vectors that fusion and models read.

    profile: source of the users' vectors, "items" for the normalised mean over train items. centred: subtract the mean of
    either side, and normalise.
    """
    items = center_rows(vectors.items) if centred else vectors.items
    if profile == "items":
        return replace(vectors, items=items, users=mean_of_items(train, items))
    return replace(vectors, items=items, users=center_rows(vectors.users) if centred else vectors.users)


@dataclass(frozen=True)
class ModelTexts:
    """Text vectors of a model, None if it reads none. notes: their origin, and the numbers of items and users without."""

    vectors: TextVectors | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def read_model_texts(model: ModelConfig, vectors_dir: Path | None, split: Split) -> ModelTexts:
    """Read the text vectors of a model.

    A user without a profile has the mean of the vectors of the train items, and is counted.
    """
    if vectors_dir is None or not isinstance(model, TextModelConfig):
        return ModelTexts()
    read = text_vectors.read_text_vectors(vectors_dir)
    vectors = text_tables(read, split.train, profile=model.profile, centred=model.centred)
    no_profile = np.isnan(vectors.users[:, 0])
    if model.profile == "profiles" and no_profile.any():
        means = mean_of_items(split.train, vectors.items)
        vectors = replace(vectors, users=np.where(no_profile[:, None], means, vectors.users))
    made_from = artifacts.read_manifest(vectors_dir, text_vectors.KIND)["inputs"]
    notes = {
        "source": vectors.source,
        **{name: made_from[name] for name in ("profiles", "encoder") if name in made_from},
        "items without a text": int(np.isnan(vectors.items[:, 0]).sum()),
        "users without a profile": int(no_profile.sum()) if model.profile == "profiles" else None,
        "users without any text": int(np.isnan(vectors.users[:, 0]).sum()),
        ADAPTED: model.adapted_from or None,
    }
    return ModelTexts(vectors, {TEXTS: {name: value for name, value in notes.items() if value is not None}})


def describe_texts(notes: Mapping[str, Any]) -> str:
    """Return the origin and the gaps of the texts of a run, for one line; empty for a run without."""
    noted = notes.get(TEXTS)
    if noted is None:
        return ""
    gaps = [f"{count:,} {name}" for name, count in noted.items() if " without " in name and count]
    described = f"; text vectors of {noted['source']}" + (f" ({', '.join(gaps)})" if gaps else "")
    adapted = noted.get(ADAPTED)
    return described + (f"; the method is adapted from {adapted}" if adapted else "")


def encode_texts_stage(
    split_dir: Path,
    profiles_dir: Path | None,
    encoder: TextEncoder | ItemVectors,
    progress: Progress | None = None,
    *,
    items: ItemSource = "texts",
) -> Stage:
    """Return the stage that encodes item texts, or item profiles, and user profiles as vectors.

    With own vectors of items there are no profiles: the vector of a user is the mean over train items.
    """
    if isinstance(encoder, ItemVectors) and items != "texts":
        raise ConfigError(f"found items {items!r} with own vectors, which replace the texts; leave it out")
    settings = {"encoder": encoder.name} | ({} if items == "texts" else {"items": items})
    inputs = vector_inputs(split_dir, profiles_dir, encoder)

    def build(draft: Draft) -> None:
        vectors = read_vectors(splits.read_split(split_dir), profiles_dir, encoder, progress, items=items)
        text_vectors.write_text_vectors(draft, vectors)
        draft.write_costs(needs_of(profiles_dir).as_costs())

    return Stage(text_vectors.KIND, settings, inputs, build)


def text_projection(vectors_dir: Path, n_items: int, size: int, *, seed: int = 0) -> Floats:
    """Return (n_items, size): item text vectors under one orthogonal map drawn from the seed, NaN without text.

    The map does not depend on the dataset: equal texts have equal places wherever encoder, size and seed are equal.
    Lengths and cosines stay the same on average. Raises ConfigError where text vectors are shorter than `size`.
    """
    texts = text_vectors.read_text_vectors(vectors_dir).items
    if len(texts) != n_items:
        raise DataError(
            f"{vectors_dir} has {len(texts):,} items, the split {n_items:,}; encode the texts of this split"
        )
    return orthogonal(texts.shape[1], size, seed=seed)(texts)
