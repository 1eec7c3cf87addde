"""Full ranking with a train mask, metrics, significance tests, late fusion and reranking. Reads scores, never models."""

from hardneg.evaluation.fusion import best_weight, fuse_scores, text_embeddings
from hardneg.evaluation.groups import Group, group_by_history, group_by_item_share, group_by_popularity
from hardneg.evaluation.ranking import Evaluation, Popularity, evaluate_parts, evaluate_scores, inner_product, top_items
from hardneg.evaluation.reranking import PairBonus, center_scores, rerank, score_pairs
from hardneg.evaluation.significance import Difference, compare_methods, compare_users, holm, is_lower

__all__ = [
    "Difference",
    "Evaluation",
    "Group",
    "PairBonus",
    "Popularity",
    "best_weight",
    "center_scores",
    "compare_methods",
    "compare_users",
    "evaluate_parts",
    "evaluate_scores",
    "fuse_scores",
    "group_by_history",
    "group_by_item_share",
    "group_by_popularity",
    "holm",
    "inner_product",
    "is_lower",
    "rerank",
    "score_pairs",
    "text_embeddings",
    "top_items",
]
