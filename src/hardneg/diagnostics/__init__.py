"""Measurements that read held-out pairs or the truth, and feed nothing."""

from hardneg.diagnostics.candidate_leaks import check_candidate_users, check_candidates, check_held_out_suspects
from hardneg.diagnostics.false_hard import FalseHardNegatives, false_hard_negatives
from hardneg.diagnostics.gradients import GradientBias, negative_gradient_bias
from hardneg.diagnostics.identification import Identification, against_pairs, against_truth
from hardneg.diagnostics.information import infonce_bound
from hardneg.diagnostics.label_alternatives import DrawnLabels, LabelAlternatives, draw_more_labels, label_alternatives
from hardneg.diagnostics.label_map import LabelMap, compare_maps, map_to_labels
from hardneg.diagnostics.leakage import Check, check_mask, check_same, check_split, redraw
from hardneg.diagnostics.loss_gradients import LossGradients, loss_gradients
from hardneg.diagnostics.named_negatives import FalseNegatives, false_negatives_by_way, named_false_negatives
from hardneg.diagnostics.nearest_items import NearestItems, nearest_catalogue_items
from hardneg.diagnostics.sampled_negatives import Examples, SampledFalseNegatives, uniform_false_negative_rate
from hardneg.diagnostics.sampled_vectors import SampledVectors
from hardneg.diagnostics.semantic_gap import (
    Gap,
    embedding_spread,
    linear_cka,
    mean_cosine,
    nearest_items,
    semantic_behavioural_gap,
)

__all__ = [
    "Check",
    "DrawnLabels",
    "Examples",
    "FalseHardNegatives",
    "FalseNegatives",
    "Gap",
    "GradientBias",
    "Identification",
    "LabelAlternatives",
    "LabelMap",
    "LossGradients",
    "NearestItems",
    "SampledFalseNegatives",
    "SampledVectors",
    "against_pairs",
    "against_truth",
    "check_candidate_users",
    "check_candidates",
    "check_held_out_suspects",
    "check_mask",
    "check_same",
    "check_split",
    "compare_maps",
    "draw_more_labels",
    "embedding_spread",
    "false_hard_negatives",
    "false_negatives_by_way",
    "infonce_bound",
    "label_alternatives",
    "linear_cka",
    "loss_gradients",
    "map_to_labels",
    "mean_cosine",
    "named_false_negatives",
    "nearest_catalogue_items",
    "nearest_items",
    "negative_gradient_bias",
    "redraw",
    "semantic_behavioural_gap",
    "uniform_false_negative_rate",
]
