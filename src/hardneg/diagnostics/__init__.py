"""Leak checks of splits and suspects, and false-negative rates on simulated data; nothing feeds back into training."""

from hardneg.diagnostics.leakage import Check, check_candidates, check_mask, check_same, check_split, redraw
from hardneg.diagnostics.sampled_negatives import ExampleRecorder, SampledFalseNegatives, uniform_false_negative_rate

__all__ = [
    "Check",
    "ExampleRecorder",
    "SampledFalseNegatives",
    "check_candidates",
    "check_mask",
    "check_same",
    "check_split",
    "redraw",
    "uniform_false_negative_rate",
]
