"""Item trees, path codes, and the prefix similarity of items (DTL-NS)."""

from hardneg.trees.clustering import TreeConfig, build_tree
from hardneg.trees.codes import PathCodes, best_in_history, prefix_similarity
from hardneg.trees.item_graph import GraphConfig, ItemGraph, jaccard_graph, spectral_embedding
from hardneg.trees.trees_folder import (
    Trees,
    TreesConfig,
    mask_untrained,
    read_released_codes,
    semantic_codes,
    structural_codes,
)

__all__ = [
    "GraphConfig",
    "ItemGraph",
    "PathCodes",
    "TreeConfig",
    "Trees",
    "TreesConfig",
    "best_in_history",
    "build_tree",
    "jaccard_graph",
    "mask_untrained",
    "prefix_similarity",
    "read_released_codes",
    "semantic_codes",
    "spectral_embedding",
    "structural_codes",
]
