"""Measurements that read held-out pairs or the truth, and feed nothing."""

from hardneg.diagnostics.grounded import FalseNegatives, false_negatives_by_way, named_false_negatives
from hardneg.diagnostics.leakage import Check, check_mask, check_same, check_split, redraw
from hardneg.diagnostics.served import Examples, ServedFalseNegatives, uniform_false_negative_rate

__all__ = [
    "Check",
    "Examples",
    "FalseNegatives",
    "ServedFalseNegatives",
    "check_mask",
    "check_same",
    "check_split",
    "false_negatives_by_way",
    "named_false_negatives",
    "redraw",
    "uniform_false_negative_rate",
]
