"""Measurements that read held-out pairs or the truth, and feed nothing."""

from hardneg.diagnostics.candidate_leaks import check_candidate_users, check_candidates, check_held_out_suspects
from hardneg.diagnostics.false_hard import FalseHardNegatives, false_hard_negatives
from hardneg.diagnostics.gap import Gap, linear_cka, mean_cosine, nearest_items, semantic_behavioural_gap, spread
from hardneg.diagnostics.gradients import GradientBias, negative_gradient_bias
from hardneg.diagnostics.grounded import FalseNegatives, false_negatives_by_way, named_false_negatives
from hardneg.diagnostics.identification import Identification, against_pairs, against_truth
from hardneg.diagnostics.information import infonce_bound
from hardneg.diagnostics.label_map import LabelMap, compare_maps, map_to_labels
from hardneg.diagnostics.label_rivals import DrawnLabels, Rivals, draw_further, rivals_of
from hardneg.diagnostics.leakage import Check, check_mask, check_same, check_split, redraw
from hardneg.diagnostics.loss_gradients import LossGradients, loss_gradients
from hardneg.diagnostics.nearest import NearestItems, nearest_catalogue_items
from hardneg.diagnostics.served import Examples, ServedFalseNegatives, uniform_false_negative_rate
from hardneg.diagnostics.served_vectors import ServedVectors

__all__ = [
    "Check",
    "DrawnLabels",
    "Examples",
    "FalseHardNegatives",
    "FalseNegatives",
    "Gap",
    "GradientBias",
    "Identification",
    "LabelMap",
    "LossGradients",
    "NearestItems",
    "Rivals",
    "ServedFalseNegatives",
    "ServedVectors",
    "against_pairs",
    "against_truth",
    "check_candidate_users",
    "check_candidates",
    "check_held_out_suspects",
    "check_mask",
    "check_same",
    "check_split",
    "compare_maps",
    "draw_further",
    "false_hard_negatives",
    "false_negatives_by_way",
    "infonce_bound",
    "linear_cka",
    "loss_gradients",
    "map_to_labels",
    "mean_cosine",
    "named_false_negatives",
    "nearest_catalogue_items",
    "nearest_items",
    "negative_gradient_bias",
    "redraw",
    "rivals_of",
    "semantic_behavioural_gap",
    "spread",
    "uniform_false_negative_rate",
]
