"""Backbones and propagation."""

from hardneg.models.anchor import Anchor, AnchorConfig, build_anchor, initialize_at_anchor
from hardneg.models.config import (
    MF,
    MODELS,
    Backbone,
    LightGCN,
    LightGCNModel,
    MFModel,
    ModelConfig,
    compute_training_pass,
)
from hardneg.models.ngcf import NGCF
from hardneg.models.sgl import SGL
from hardneg.models.simgcl import SimGCL, XSimGCL

__all__ = [
    "MF",
    "MODELS",
    "NGCF",
    "SGL",
    "Anchor",
    "AnchorConfig",
    "Backbone",
    "LightGCN",
    "LightGCNModel",
    "MFModel",
    "ModelConfig",
    "SimGCL",
    "XSimGCL",
    "build_anchor",
    "compute_training_pass",
    "initialize_at_anchor",
]
