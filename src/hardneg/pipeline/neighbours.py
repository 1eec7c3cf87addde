"""The stage of item neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.negatives import Neighbours, neighbours
from hardneg.negatives.neighbours import By
from hardneg.random import generator
from hardneg.text import TextEncoder, item_texts
from hardneg.types import Progress


def find_neighbours(
    split_folder: Path,
    out: Path,
    by: By,
    *,
    k: int = 10,
    encoder: TextEncoder | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Find k neighbours of every item into a neighbours folder.

    encoder: of item texts, needed by "text" alone. seed: of "random" alone.
    """
    settings: dict[str, Any] = {"by": by, "k": k} | ({"seed": seed} if by == "random" else {})
    inputs = {"learnt from": splits.learnt_from_hash(split_folder)}
    if by == "text":
        if encoder is None:
            raise ConfigError("found no encoder, expected one for neighbours by text; give an encoder")
        settings["encoder"], inputs["encoder"] = encoder.name, encoder.identity
    if artifacts.finished(out, artifacts.key_of(neighbours.KIND, settings, inputs)):
        return
    found = _found(splits.read(split_folder), by, k, encoder, seed, progress)
    neighbours.write(out, found, config=settings, inputs=inputs)


def _found(
    data: Split, by: By, k: int, encoder: TextEncoder | None, seed: int, progress: Progress | None
) -> Neighbours:
    if by == "co-occurrence":
        return neighbours.by_co_occurrence(data.train, k)
    if by == "random":
        return neighbours.at_random(data.train.n_items, k, generator(seed, "random neighbours"))
    assert encoder is not None
    return neighbours.by_text(encoder.encode(item_texts(data.texts), progress), k, encoder.name)
