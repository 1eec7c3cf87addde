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
from hardneg.pipeline.origins import hash_of_same_split
from hardneg.random import generator
from hardneg.text import TextEncoder, encoded, extract_profiles, profiles
from hardneg.text.shuffled import with_titles_shuffled
from hardneg.types import Progress


def profile(split_folder: Path, out: Path, *, shuffle_titles: int | None = None) -> profiles.Profiles:
    """Write extractive item and user profiles from what a split may be learnt from.

    shuffle_titles: a seed; the control in which what is said of items is shuffled among them before.
    """
    inputs = {"learnt from": splits.learnt_from_hash(split_folder)}
    settings: dict[str, Any] = {"method": profiles.SOURCE}
    if shuffle_titles is not None:
        settings["titles shuffled with seed"] = shuffle_titles
    if not artifacts.finished(out, artifacts.key_of(profiles.KIND, settings, inputs)):
        data = splits.read(split_folder)
        made = extract_profiles(data) if shuffle_titles is None else _of_shuffled(data, shuffle_titles)
        profiles.write(out, made, data, config=settings, inputs=inputs)
    return profiles.read(out)


def _of_shuffled(data: Split, seed: int) -> profiles.Profiles:
    made = extract_profiles(with_titles_shuffled(data, generator(seed, "shuffled titles")))
    return replace(made, source=f"{made.source}, titles shuffled among items (seed {seed})")


def encode(
    split_folder: Path, profile_folder: Path, out: Path, encoder: TextEncoder, progress: Progress | None = None
) -> None:
    """Encode item texts and user profiles into a vectors folder."""
    settings = {"encoder": encoder.name}
    inputs = {
        "learnt from": splits.learnt_from_hash(split_folder),
        "profiles": hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "encoder": encoder.identity,
    }
    if artifacts.finished(out, artifacts.key_of(encoded.KIND, settings, inputs)):
        return
    made = encoded.encode(splits.read(split_folder), profiles.read(profile_folder), encoder, progress)
    encoded.write(out, made, config=settings, inputs=inputs, costs=needed_by(profile_folder).as_costs())


def vectors_beside(profile_folder: Path, encoder: TextEncoder) -> Path:
    """Where `encode` keeps vectors if nobody says: beside the profiles, named by the encoder."""
    return profile_folder.with_name(f"{profile_folder.name}-{re.sub('[^a-z0-9.]+', '-', encoder.name.lower())}")
