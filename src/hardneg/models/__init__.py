"""Backbones, propagation and losses."""

from hardneg.models.anchor import Anchor, AnchorConfig, build_anchor, initialize_at_anchor
from hardneg.models.config import MF, MODELS, Backbone, LightGCN, LightGCNModel, MFModel, ModelConfig
from hardneg.models.losses import bpr, bpr_of_rows, l2

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
    "bpr",
    "bpr_of_rows",
    "build_anchor",
    "initialize_at_anchor",
    "l2",
]
