"""Backbones and propagation."""

from hardneg.models.alpharec import AlphaRec
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
from hardneg.models.kar import KAR
from hardneg.models.llmrec import LLMRec
from hardneg.models.ngcf import NGCF
from hardneg.models.rlmrec import RLMRecCon, RLMRecGen
from hardneg.models.sgl import SGL
from hardneg.models.simgcl import SimGCL, XSimGCL
from hardneg.models.text_model import TextModel, TextModelConfig, build_model

__all__ = [
    "ALS",
    "BASELINES",
    "DGCF",
    "EASE",
    "KAR",
    "MF",
    "MODELS",
    "NGCF",
    "SGL",
    "AlphaRec",
    "Anchor",
    "AnchorConfig",
    "Backbone",
    "BaselineConfig",
    "ItemItem",
    "ItemKNN",
    "ItemScores",
    "LLMRec",
    "LightGCN",
    "LightGCNModel",
    "MFModel",
    "ModelConfig",
    "Popular",
    "RLMRecCon",
    "RLMRecGen",
    "SimGCL",
    "TextModel",
    "TextModelConfig",
    "XSimGCL",
    "build_anchor",
    "build_model",
    "compute_training_pass",
    "count_embeddings",
    "initialize_at_anchor",
]
