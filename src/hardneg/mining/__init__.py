"""Artifacts with negatives: retrieved, generated, drawn from a trained model, and their controls."""

from hardneg.mining.generated import GeneratedConfig, GeneratedNegatives, ground_texts, tabulate_generated
from hardneg.mining.grounding_comparison import compare_grounding
from hardneg.mining.labels import LabelOptions, Labels, draw_labels
from hardneg.mining.retrieval import RetrievalConfig

__all__ = [
    "GeneratedConfig",
    "GeneratedNegatives",
    "LabelOptions",
    "Labels",
    "RetrievalConfig",
    "compare_grounding",
    "draw_labels",
    "ground_texts",
    "tabulate_generated",
]
