"""The stage of item neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.mining import neighbours
from hardneg.random import generator
from hardneg.sampling import ItemNeighbours, item_neighbours
from hardneg.sampling.item_neighbours import NeighbourSource
from hardneg.text import TextEncoder, item_texts
from hardneg.types import Progress


def find_neighbours(
    split_folder: Path,
    out: Path,
    by: NeighbourSource,
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
    inputs = {"training data": splits.training_data_hash(split_folder)}
    if by == "text":
        if encoder is None:
            raise ConfigError("found no encoder, expected one for neighbours by text; give an encoder")
        settings["encoder"], inputs["encoder"] = encoder.name, encoder.identity
    if artifacts.is_finished(out, artifacts.artifact_key(item_neighbours.KIND, settings, inputs)):
        return
    found = _found(splits.read_split(split_folder), by, k, encoder, seed, progress)
    item_neighbours.write_neighbours(out, found, config=settings, inputs=inputs)


def _found(
    data: Split, by: NeighbourSource, k: int, encoder: TextEncoder | None, seed: int, progress: Progress | None
) -> ItemNeighbours:
    if by == "co-occurrence":
        return neighbours.find_by_co_occurrence(data.train, k)
    if by == "random":
        return neighbours.draw_at_random(data.train.n_items, k, generator(seed, "random neighbours"))
    assert encoder is not None
    return neighbours.find_by_text(encoder.encode(item_texts(data.texts), progress), k, encoder.name)
