"""Backbones, propagation and losses."""

from hardneg.models.anchor import Anchor, AnchorConfig, anchor_at, start_at
from hardneg.models.config import MF, MODELS, Backbone, LightGCN, ModelConfig
from hardneg.models.lightgcn import LightGCNModel
from hardneg.models.losses import bpr, bpr_of_rows, l2
from hardneg.models.mf import MFModel

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
    "anchor_at",
    "bpr",
    "bpr_of_rows",
    "l2",
    "start_at",
]
