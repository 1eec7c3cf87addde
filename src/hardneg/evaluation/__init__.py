"""Masked full ranking, metrics, significance. Knows score functions, not models."""

from hardneg.evaluation.ranking import Evaluation, evaluate, inner_product, top_items
from hardneg.evaluation.significance import Difference, compare, holm

__all__ = ["Difference", "Evaluation", "compare", "evaluate", "holm", "inner_product", "top_items"]
