"""Backbones, propagation and losses."""

from hardneg.models.config import MODELS, Backbone, LightGCNConfig, MFConfig, ModelConfig
from hardneg.models.lightgcn import LightGCN
from hardneg.models.losses import bpr, l2
from hardneg.models.mf import MF

__all__ = ["MF", "MODELS", "Backbone", "LightGCN", "LightGCNConfig", "MFConfig", "ModelConfig", "bpr", "l2"]
