"""Options and names of baselines, and the baseline by popularity."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch

from hardneg.data.interactions import Interactions
from hardneg.models.baselines.item_item import ItemScores
from hardneg.plugins import PluginConfig, Registry
from hardneg.types import Embeddings

BASELINES = Registry(
    "baseline",
    "hardneg.baselines",
    {
        "popularity": "hardneg.models.baselines.config:Popular",
        "item-knn": "hardneg.models.baselines.item_knn:ItemKNN",
        "ease": "hardneg.models.baselines.ease:EASE",
        "als": "hardneg.models.baselines.als:ALS",
    },
)


class BaselineConfig(PluginConfig):
    """Options of a baseline. A field of this type accepts every baseline by its `kind`."""

    registry: ClassVar[Registry] = BASELINES

    @abstractmethod
    def fit(self, train: Interactions, *, seed: int) -> ItemScores:
        """Compute the scores from train pairs; the seed matters only where the result is random."""
        ...


class Popular(BaselineConfig):
    """The most popular items, by their number of train pairs, the same for every user."""

    kind: Literal["popularity"] = "popularity"

    def fit(self, train: Interactions, *, seed: int) -> ItemScores:  # noqa: ARG002 - nothing is random
        """Count the train pairs of items."""
        return ItemScores(count_embeddings(train))


def count_embeddings(train: Interactions) -> Embeddings:
    """Return embeddings of size 1 whose inner product is the number of train pairs of the item."""
    items = torch.from_numpy(train.item_counts).float().unsqueeze(1)
    return Embeddings((torch.ones(train.n_users, 1),), (items,), "mean")
