"""Vectors of item texts and user profiles, and the `vectors` folder that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hardneg import artifacts
from hardneg.data.split import Split
from hardneg.stage import Draft
from hardneg.storage import read_array
from hardneg.text.encoders import TextEncoder
from hardneg.text.profiles import Profiles
from hardneg.text.texts import require_item_texts
from hardneg.types import Floats, Progress

KIND = "vectors"
TABLES = ("items", "users")
ItemSource = Literal["texts", "profiles"]
"""What represents an item: its title, attributes and description, or its profile."""


@dataclass(frozen=True)
class TextVectors:
    """Text vectors, float32 of unit length; rows of NaN without a text.

    items: (n_items, size), of item texts or item profiles. users: (n_users, size), of user profiles. source: names of
    the profiles' source and of the encoder.
    """

    items: Floats
    users: Floats
    source: str


def encode_texts(
    split: Split,
    profiles: Profiles,
    encoder: TextEncoder,
    progress: Progress | None = None,
    *,
    items: ItemSource = "texts",
) -> TextVectors:
    """Encode item texts, or item profiles, and user profiles."""
    texts = require_item_texts(split.texts) if items == "texts" else profiles.items
    vectors = encoder.encode([*texts, *profiles.users], progress)
    source = f"{profiles.source} profiles{' of items and users' if items == 'profiles' else ''}, {encoder.name}"
    return TextVectors(vectors[: len(texts)], vectors[len(texts) :], source)


def write_text_vectors(draft: Draft, encoded: TextVectors) -> None:
    """Write items.npy and users.npy."""
    draft.notes["source"] = encoded.source
    for name in TABLES:
        table = getattr(encoded, name)
        draft.notes[f"{name} without"] = int(np.isnan(table[:, 0]).sum())
        np.save(draft.folder / f"{name}.npy", table)


def read_text_vectors(folder: Path) -> TextVectors:
    """Read a vectors folder."""
    source = artifacts.read_manifest(folder, KIND)["notes"]["source"]
    tables = dict[str, Floats]()
    for name in TABLES:
        tables[name] = np.array(read_array(folder / f"{name}.npy"))
    return TextVectors(**tables, source=source)
