"""What a sampler needs besides train pairs, as a folder gives it: mined negatives, or neighbours of items."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data.split import Split
from hardneg.sampling import item_neighbours as neighbours
from hardneg.sampling import mined
from hardneg.sampling.item_neighbours import ItemNeighbours
from hardneg.sampling.mined import MinedNegatives

SamplerInput = MinedNegatives | ItemNeighbours


def folder_kind(folder: Path) -> str:
    """The kind of folder that it is taken for: neighbours where it says so, else negatives."""
    return neighbours.KIND if artifacts.kind_at(folder) == neighbours.KIND else mined.KIND


def read_sampler_input(folder: Path, split: Split) -> SamplerInput:
    """Read a negatives or a neighbours folder; DataError where it is neither, or of another split's size."""
    if folder_kind(folder) == neighbours.KIND:
        return neighbours.read_neighbours(folder, split.train.n_items)
    return mined.read_negatives(folder, split.vocabulary, len(split.train))
