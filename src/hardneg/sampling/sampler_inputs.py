"""Inputs of samplers that are read from a folder: mined negatives, or neighbours of items."""

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
    """Return "neighbours" where the manifest says so, otherwise "negatives"."""
    return neighbours.KIND if artifacts.kind_at(folder) == neighbours.KIND else mined.KIND


def read_sampler_input(folder: Path, split: Split) -> SamplerInput:
    """Read a negatives or a neighbours folder. Raises DataError where it is neither or does not fit the split."""
    if folder_kind(folder) == neighbours.KIND:
        return neighbours.read_neighbours(folder, split.train.n_items)
    return mined.read_negatives(folder, split.vocabulary, len(split.train))
