"""Baselines without a training loop: popularity, item-kNN, EASE and implicit ALS."""

from hardneg.models.baselines.als import ALS
from hardneg.models.baselines.config import BASELINES, BaselineConfig, Popular, count_embeddings
from hardneg.models.baselines.ease import EASE
from hardneg.models.baselines.item_item import ItemItem, ItemScores
from hardneg.models.baselines.item_knn import ItemKNN

__all__ = [
    "ALS",
    "BASELINES",
    "EASE",
    "BaselineConfig",
    "ItemItem",
    "ItemKNN",
    "ItemScores",
    "Popular",
    "count_embeddings",
]
