"""Semantic negatives: retrieved, generated, drawn from a trained model, and their controls."""

from hardneg.mining.generated import GeneratedConfig
from hardneg.mining.labels import LabelOptions
from hardneg.mining.retrieval import RetrievalConfig

__all__ = ["GeneratedConfig", "LabelOptions", "RetrievalConfig"]
