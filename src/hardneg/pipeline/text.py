"""Stages of the text room: profiles, and texts as vectors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.pipeline.costs import needed_by
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.random import generator
from hardneg.text import TextEncoder, extract_profiles, profiles, text_vectors
from hardneg.text.shuffled_titles import shuffle_item_texts
from hardneg.types import Progress


def profile(split_folder: Path, out: Path, *, shuffle_titles: int | None = None) -> profiles.Profiles:
    """Write extractive item and user profiles from what a split may be learnt from.

    shuffle_titles: a seed; the control in which what is said of items is shuffled among them before.
    """
    inputs = {"training data": splits.training_data_hash(split_folder)}
    settings: dict[str, Any] = {"method": profiles.SOURCE}
    if shuffle_titles is not None:
        settings["titles shuffled with seed"] = shuffle_titles
    if not artifacts.is_finished(out, artifacts.artifact_key(profiles.KIND, settings, inputs)):
        data = splits.read_split(split_folder)
        made = extract_profiles(data) if shuffle_titles is None else _of_shuffled(data, shuffle_titles)
        profiles.write_profiles(out, made, data, config=settings, inputs=inputs)
    return profiles.read_profiles(out)


def _of_shuffled(data: Split, seed: int) -> profiles.Profiles:
    made = extract_profiles(shuffle_item_texts(data, generator(seed, "shuffled titles")))
    return replace(made, source=f"{made.source}, titles shuffled among items (seed {seed})")


def encode_split_texts(
    split_folder: Path, profile_folder: Path, out: Path, encoder: TextEncoder, progress: Progress | None = None
) -> None:
    """Encode item texts and user profiles into a vectors folder."""
    settings = {"encoder": encoder.name}
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "profiles": hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "encoder": encoder.identity,
    }
    if artifacts.is_finished(out, artifacts.artifact_key(text_vectors.KIND, settings, inputs)):
        return
    made = text_vectors.encode_texts(
        splits.read_split(split_folder), profiles.read_profiles(profile_folder), encoder, progress
    )
    text_vectors.write_text_vectors(
        out, made, config=settings, inputs=inputs, costs=needed_by(profile_folder).as_costs()
    )


def vectors_beside(profile_folder: Path, encoder: TextEncoder) -> Path:
    """Where `encode_split_texts` keeps vectors if nobody says: beside the profiles, named by the encoder."""
    return profile_folder.with_name(f"{profile_folder.name}-{re.sub('[^a-z0-9.]+', '-', encoder.name.lower())}")
