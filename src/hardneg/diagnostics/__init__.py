"""Measurements that read held-out pairs or the truth, and feed nothing."""

from hardneg.diagnostics.candidate_leaks import check_candidate_users, check_candidates, check_held_out_suspects
from hardneg.diagnostics.false_hard import FalseHardNegatives, false_hard_negatives
from hardneg.diagnostics.gap import Gap, linear_cka, mean_cosine, nearest_items, semantic_behavioural_gap, spread
from hardneg.diagnostics.gradients import GradientBias, negative_gradient_bias
from hardneg.diagnostics.grounded import FalseNegatives, false_negatives_by_way, named_false_negatives
from hardneg.diagnostics.identification import Identification, against_pairs, against_truth
from hardneg.diagnostics.information import infonce_bound
from hardneg.diagnostics.leakage import Check, check_mask, check_same, check_split, redraw
from hardneg.diagnostics.served import Examples, ServedFalseNegatives, uniform_false_negative_rate
from hardneg.diagnostics.served_vectors import ServedVectors

__all__ = [
    "Check",
    "Examples",
    "FalseHardNegatives",
    "FalseNegatives",
    "Gap",
    "GradientBias",
    "Identification",
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
    "false_hard_negatives",
    "false_negatives_by_way",
    "infonce_bound",
    "linear_cka",
    "mean_cosine",
    "named_false_negatives",
    "nearest_items",
    "negative_gradient_bias",
    "redraw",
    "semantic_behavioural_gap",
    "spread",
    "uniform_false_negative_rate",
]
