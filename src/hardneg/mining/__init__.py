"""Semantic negatives: retrieved, generated, drawn from a trained model, and their controls."""

from hardneg.mining.generated import GeneratedConfig, GeneratedNegatives, ground_texts, tabulate_generated
from hardneg.mining.labels import LabelOptions, LabelVectors, draw_label_vectors
from hardneg.mining.retrieval import RetrievalConfig

__all__ = [
    "GeneratedConfig",
    "GeneratedNegatives",
    "LabelOptions",
    "LabelVectors",
    "RetrievalConfig",
    "draw_label_vectors",
    "ground_texts",
    "tabulate_generated",
]
