"""Backbones and propagation."""

from hardneg.models.anchor import Anchor, AnchorConfig, build_anchor, initialize_at_anchor
from hardneg.models.baselines import (
    ALS,
    BASELINES,
    EASE,
    BaselineConfig,
    ItemItem,
    ItemKNN,
    ItemScores,
    Popular,
    count_embeddings,
)
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
from hardneg.models.dgcf import DGCF
from hardneg.models.ngcf import NGCF
from hardneg.models.sgl import SGL
from hardneg.models.simgcl import SimGCL, XSimGCL

__all__ = [
    "ALS",
    "BASELINES",
    "DGCF",
    "EASE",
    "MF",
    "MODELS",
    "NGCF",
    "SGL",
    "Anchor",
    "AnchorConfig",
    "Backbone",
    "BaselineConfig",
    "ItemItem",
    "ItemKNN",
    "ItemScores",
    "LightGCN",
    "LightGCNModel",
    "MFModel",
    "ModelConfig",
    "Popular",
    "SimGCL",
    "XSimGCL",
    "build_anchor",
    "compute_training_pass",
    "count_embeddings",
    "initialize_at_anchor",
]
