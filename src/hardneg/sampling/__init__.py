"""Candidate sources and negative samplers, as the training loop calls them."""

from hardneg.sampling.ahns import AHNS
from hardneg.sampling.candidates import CandidateSource, Exclusion, UniformCandidates, exclude_suspects
from hardneg.sampling.dns import DNS
from hardneg.sampling.mined import ItemNeighbours, MinedNegatives
from hardneg.sampling.mixgcf import MixGCF
from hardneg.sampling.multi_view import MultiView
from hardneg.sampling.sampler import SAMPLERS, NegativeSampler, SamplerConfig, SamplerInputs, StatelessSampler
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
