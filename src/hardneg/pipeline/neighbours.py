"""The stage that finds neighbours of items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.mining import retrieval
from hardneg.pipeline.provenance import split_inputs
from hardneg.random import generator
from hardneg.sampling import ItemNeighbours, mined
from hardneg.sampling.mined import NeighbourSource
from hardneg.stage import Draft, Stage
from hardneg.text import TextEncoder, item_texts
from hardneg.types import Progress


def neighbours_stage(
    split_dir: Path,
    by: NeighbourSource,
    *,
    k: int = 10,
    encoder: TextEncoder | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage that finds k neighbours of every item.

    encoder: of item texts, for "text" only. seed: for "random" only. Raises ConfigError without a needed encoder.
    """
    settings: dict[str, Any] = {"by": by, "k": k} | ({"seed": seed} if by == "random" else {})
    inputs = split_inputs(split_dir)
    if by == "text":
        if encoder is None:
            raise ConfigError("found no encoder, expected one for neighbours by text; give an encoder")
        settings["encoder"], inputs["encoder"] = encoder.name, encoder.identity

    def search(split: Split) -> ItemNeighbours:
        if by == "co-occurrence":
            return retrieval.find_by_co_occurrence(split.train, k)
        if by == "random":
            return retrieval.draw_at_random(split.train.n_items, k, generator(seed, "random neighbours"))
        assert encoder is not None
        vectors = encoder.encode(item_texts(split.texts), progress)
        return ItemNeighbours(retrieval.text_neighbours(vectors, k)[0], f"text, {encoder.name}")

    def build(draft: Draft) -> None:
        mined.write_neighbours(draft, search(splits.read_split(split_dir)))

    return Stage(mined.NEIGHBOURS, settings, inputs, build)
