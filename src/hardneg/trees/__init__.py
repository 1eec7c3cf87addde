"""Trees over items, path codes, and how much of their way from the root two items share (DTL-NS)."""

from hardneg.trees.codes import PathCodes
from hardneg.trees.similarity import BestInHistory, best_in_history, prefix_similarity

__all__ = ["BestInHistory", "PathCodes", "best_in_history", "prefix_similarity"]
