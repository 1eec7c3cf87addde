"""Backbones and propagation."""

from hardneg.models.anchor import Anchor, AnchorConfig, build_anchor, initialize_at_anchor
from hardneg.models.config import MF, MODELS, Backbone, LightGCN, LightGCNModel, MFModel, ModelConfig

__all__ = [
    "MF",
    "MODELS",
    "Anchor",
    "AnchorConfig",
    "Backbone",
    "LightGCN",
    "LightGCNModel",
    "MFModel",
    "ModelConfig",
    "build_anchor",
    "initialize_at_anchor",
]
