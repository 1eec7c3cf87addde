"""Candidate sources and negative samplers, as the training loop calls them."""

from hardneg.sampling.adaptive_softmax import AdaptiveSoftmax
from hardneg.sampling.ahns import AHNS
from hardneg.sampling.ans import ANS
from hardneg.sampling.dens import DENS
from hardneg.sampling.dns import DNS
from hardneg.sampling.gdns import GDNS
from hardneg.sampling.in_batch import InBatchCandidates, InBatchSampling, InBatchSource
from hardneg.sampling.judged import PairFactors, PenalizedCandidates, WeighedSampler
from hardneg.sampling.mined import ItemNeighbours, MinedNegatives
from hardneg.sampling.mixgcf import MixGCF, MultiView
from hardneg.sampling.popularity import PopularityCandidates, PopularitySampling, PopularitySource
from hardneg.sampling.sampler import (
    SAMPLERS,
    CandidateSource,
    NegativeSampler,
    SamplerConfig,
    SamplerInputs,
    StatelessSampler,
    TrainingPairs,
    UniformCandidates,
    exclude_suspects,
)
from hardneg.sampling.semantic import Semantic, SemanticLiteral
from hardneg.sampling.semantic_mixing import SemanticMixing
from hardneg.sampling.sources import SourceConfig, SourceInputs, UniformSource
from hardneg.sampling.srns import SRNS
from hardneg.sampling.uniform import Uniform

__all__ = [
    "AHNS",
    "ANS",
    "DENS",
    "DNS",
    "GDNS",
    "SAMPLERS",
    "SRNS",
    "AdaptiveSoftmax",
    "CandidateSource",
    "InBatchCandidates",
    "InBatchSampling",
    "InBatchSource",
    "ItemNeighbours",
    "MinedNegatives",
    "MixGCF",
    "MultiView",
    "NegativeSampler",
    "PairFactors",
    "PenalizedCandidates",
    "PopularityCandidates",
    "PopularitySampling",
    "PopularitySource",
    "SamplerConfig",
    "SamplerInputs",
    "Semantic",
    "SemanticLiteral",
    "SemanticMixing",
    "SourceConfig",
    "SourceInputs",
    "StatelessSampler",
    "TrainingPairs",
    "Uniform",
    "UniformCandidates",
    "UniformSource",
    "WeighedSampler",
    "exclude_suspects",
]
