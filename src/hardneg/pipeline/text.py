"""Stages that make texts: extractive profiles, and texts as vectors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardneg.data import split as splits
from hardneg.pipeline.costs import needs_of
from hardneg.pipeline.provenance import split_inputs
from hardneg.random import generator
from hardneg.stage import Draft, Stage
from hardneg.text import TextEncoder, extract_profiles, profiles, text_vectors
from hardneg.text.texts import shuffle_item_texts
from hardneg.types import Progress


def extract_profiles_stage(split_dir: Path, *, shuffle_titles: int | None = None) -> Stage:
    """Return the stage that extracts item and user profiles from the training data.

    shuffle_titles: a seed, for the control in which the texts of items are shuffled among them first.
    """
    settings: dict[str, Any] = {"method": profiles.SOURCE}
    if shuffle_titles is not None:
        settings["titles shuffled with seed"] = shuffle_titles

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        if shuffle_titles is None:
            profiles.write_profiles(draft, extract_profiles(split), split)
            return
        shuffled = shuffle_item_texts(split, generator(shuffle_titles, "shuffled titles"))
        extracted = extract_profiles(shuffled)
        source = f"{extracted.source}, titles shuffled among items (seed {shuffle_titles})"
        profiles.write_profiles(draft, replace(extracted, source=source), split)

    return Stage(profiles.KIND, settings, split_inputs(split_dir), build)


def encode_texts_stage(
    split_dir: Path, profiles_dir: Path, encoder: TextEncoder, progress: Progress | None = None
) -> Stage:
    """Return the stage that encodes item texts and user profiles as vectors."""
    inputs = split_inputs(split_dir, profiles=(profiles_dir, profiles.KIND)) | {"encoder": encoder.identity}

    def build(draft: Draft) -> None:
        split, written = splits.read_split(split_dir), profiles.read_profiles(profiles_dir)
        text_vectors.write_text_vectors(draft, text_vectors.encode_texts(split, written, encoder, progress))
        draft.write_costs(needs_of(profiles_dir).as_costs())

    return Stage(text_vectors.KIND, {"encoder": encoder.name}, inputs, build)


def default_vectors_dir(profiles_dir: Path, encoder: TextEncoder) -> Path:
    """Return the default folder for encoded texts: beside the profiles, named by the encoder."""
    return profiles_dir.with_name(f"{profiles_dir.name}-{re.sub('[^a-z0-9.]+', '-', encoder.name.lower())}")
