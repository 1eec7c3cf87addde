"""Samplers by name: a choice and its options are one object."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hardneg.negatives.ahns import AHNS
from hardneg.negatives.dns import DNS
from hardneg.negatives.mixgcf import MixGCF
from hardneg.negatives.multi_view import MultiView
from hardneg.negatives.semantic import Semantic
from hardneg.negatives.smoothed import Smoothed
from hardneg.negatives.uniform import Uniform

SamplerConfig = Annotated[Uniform | DNS | AHNS | MixGCF | MultiView | Semantic | Smoothed, Field(discriminator="kind")]
SAMPLERS = ("uniform", "dns", "ahns", "mixgcf", "multi-view", "semantic", "smoothed")
