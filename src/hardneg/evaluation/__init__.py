"""Masked full ranking, metrics, significance. Knows score functions, not models."""

from hardneg.evaluation.fusion import best_weight, fused, text_only
from hardneg.evaluation.ranking import Evaluation, evaluate, inner_product, top_items
from hardneg.evaluation.significance import Difference, compare, holm

__all__ = [
    "Difference",
    "Evaluation",
    "best_weight",
    "compare",
    "evaluate",
    "fused",
    "holm",
    "inner_product",
    "text_only",
    "top_items",
]
