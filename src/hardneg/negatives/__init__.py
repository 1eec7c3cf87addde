"""Candidate sources, samplers, and negatives mined from text."""

from hardneg.negatives.ahns import AHNS
from hardneg.negatives.candidates import CandidateSource, UniformCandidates
from hardneg.negatives.config import SAMPLERS, SamplerConfig
from hardneg.negatives.dns import DNS
from hardneg.negatives.exclusion import Exclusion, excluding
from hardneg.negatives.labels import LabelOptions, Labels, draw_labels
from hardneg.negatives.mined import Mined, random_like
from hardneg.negatives.mixgcf import MixGCF
from hardneg.negatives.multi_view import MultiView
from hardneg.negatives.neighbours import Neighbours
from hardneg.negatives.retrieved import Retrieved
from hardneg.negatives.sampler import Ingredients, NegativeSampler
from hardneg.negatives.semantic import Semantic
from hardneg.negatives.smoothed import Smoothed
from hardneg.negatives.uniform import Uniform
from hardneg.negatives.ways import compare_ways
from hardneg.negatives.written import Written, WrittenNegatives, ground_texts, tabulate_written

__all__ = [
    "AHNS",
    "DNS",
    "SAMPLERS",
    "CandidateSource",
    "Exclusion",
    "Ingredients",
    "LabelOptions",
    "Labels",
    "Mined",
    "MixGCF",
    "MultiView",
    "NegativeSampler",
    "Neighbours",
    "Retrieved",
    "SamplerConfig",
    "Semantic",
    "Smoothed",
    "Uniform",
    "UniformCandidates",
    "Written",
    "WrittenNegatives",
    "compare_ways",
    "draw_labels",
    "excluding",
    "ground_texts",
    "random_like",
    "tabulate_written",
]
