"""Backbones, propagation and losses."""

from hardneg.models.config import MODELS, Backbone, LightGCNConfig, MFConfig, ModelConfig
from hardneg.models.lightgcn import LightGCN
from hardneg.models.losses import bpr, bpr_of_rows, l2
from hardneg.models.mf import MF

__all__ = [
    "MF",
    "MODELS",
    "Backbone",
    "LightGCN",
    "LightGCNConfig",
    "MFConfig",
    "ModelConfig",
    "bpr",
    "bpr_of_rows",
    "l2",
]
