"""Samplers by name: a choice and its options are one object."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hardneg.sampling.ahns import AHNS
from hardneg.sampling.dns import DNS
from hardneg.sampling.mixgcf import MixGCF
from hardneg.sampling.multi_view import MultiView
from hardneg.sampling.semantic import Semantic
from hardneg.sampling.semantic_mixing import SemanticMixing
from hardneg.sampling.uniform import Uniform

SamplerConfig = Annotated[
    Uniform | DNS | AHNS | MixGCF | MultiView | Semantic | SemanticMixing, Field(discriminator="kind")
]
SAMPLERS = ("uniform", "dns", "ahns", "mixgcf", "multi-view", "semantic", "smoothed")
