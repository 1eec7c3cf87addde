"""Candidate sources and negative samplers, as the training loop calls them."""

from hardneg.sampling.ahns import AHNS
from hardneg.sampling.candidates import CandidateSource, Exclusion, UniformCandidates, exclude_suspects
from hardneg.sampling.config import SAMPLERS, SamplerConfig, StatelessSampler
from hardneg.sampling.dns import DNS
from hardneg.sampling.item_neighbours import ItemNeighbours
from hardneg.sampling.mined import MinedNegatives
from hardneg.sampling.mixgcf import MixGCF
from hardneg.sampling.multi_view import MultiView
from hardneg.sampling.sampler import NegativeSampler, SamplerInputs
from hardneg.sampling.semantic import Semantic
from hardneg.sampling.semantic_mixing import SemanticMixing
from hardneg.sampling.uniform import Uniform

__all__ = [
    "AHNS",
    "DNS",
    "SAMPLERS",
    "CandidateSource",
    "Exclusion",
    "ItemNeighbours",
    "MinedNegatives",
    "MixGCF",
    "MultiView",
    "NegativeSampler",
    "SamplerConfig",
    "SamplerInputs",
    "Semantic",
    "SemanticMixing",
    "StatelessSampler",
    "Uniform",
    "UniformCandidates",
    "exclude_suspects",
]
