"""Leak checks, false-negative rates on simulated data, and the quality of judges; nothing feeds back into training."""

from hardneg.diagnostics.held_out_pairs import check_added, check_nearest, check_pairs, check_scores
from hardneg.diagnostics.held_out_texts import check_reviews, check_titles
from hardneg.diagnostics.judge_quality import HiddenItemCandidates, HiddenItemsConfig
from hardneg.diagnostics.leakage import Check, check_candidates, check_mask, check_same, check_split, redraw
from hardneg.diagnostics.reranked import check_bonus
from hardneg.diagnostics.sampled_negatives import (
    ExampleRecorder,
    HeldOutPairs,
    SampledFalseNegatives,
    uniform_false_negative_rate,
)

__all__ = [
    "Check",
    "ExampleRecorder",
    "HeldOutPairs",
    "HiddenItemCandidates",
    "HiddenItemsConfig",
    "SampledFalseNegatives",
    "check_added",
    "check_bonus",
    "check_candidates",
    "check_mask",
    "check_nearest",
    "check_pairs",
    "check_reviews",
    "check_same",
    "check_scores",
    "check_split",
    "check_titles",
    "redraw",
    "uniform_false_negative_rate",
]
