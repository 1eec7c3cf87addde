"""Full ranking with a train mask, metrics, significance tests and late fusion. Reads scores, never models."""

from hardneg.evaluation.fusion import best_weight, fuse_scores, text_embeddings
from hardneg.evaluation.ranking import Evaluation, Popularity, evaluate_scores, inner_product, top_items
from hardneg.evaluation.significance import Difference, compare_methods, holm, is_lower

__all__ = [
    "Difference",
    "Evaluation",
    "Popularity",
    "best_weight",
    "compare_methods",
    "evaluate_scores",
    "fuse_scores",
    "holm",
    "inner_product",
    "is_lower",
    "text_embeddings",
    "top_items",
]
