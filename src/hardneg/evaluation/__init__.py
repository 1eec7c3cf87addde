"""Full ranking with a train mask, metrics, significance tests and late fusion. Reads scores, never models."""

from hardneg.evaluation.fusion import best_weight, fuse_scores, text_embeddings
from hardneg.evaluation.ranking import Evaluation, evaluate_scores, inner_product, top_items
from hardneg.evaluation.significance import Difference, compare_methods, holm

__all__ = [
    "Difference",
    "Evaluation",
    "best_weight",
    "compare_methods",
    "evaluate_scores",
    "fuse_scores",
    "holm",
    "inner_product",
    "text_embeddings",
    "top_items",
]
