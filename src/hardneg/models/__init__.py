"""Backbones, propagation and losses."""

from hardneg.models.anchor import Anchor, AnchorConfig, anchor_at, start_at
from hardneg.models.config import MODELS, Backbone, LightGCNConfig, MFConfig, ModelConfig
from hardneg.models.lightgcn import LightGCN
from hardneg.models.losses import bpr, bpr_of_rows, l2
from hardneg.models.mf import MF

__all__ = [
    "MF",
    "MODELS",
    "Anchor",
    "AnchorConfig",
    "Backbone",
    "LightGCN",
    "LightGCNConfig",
    "MFConfig",
    "ModelConfig",
    "anchor_at",
    "bpr",
    "bpr_of_rows",
    "l2",
    "start_at",
]
