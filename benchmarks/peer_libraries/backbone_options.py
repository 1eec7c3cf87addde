"""Options of our backbones that RecBole's models share. It imports nothing, so that every process can read it."""

from __future__ import annotations

from typing import Any

EMBEDDING_SIZE, HOPS = 64, 3
VIEWS = {"weight": 0.1, "temperature": 0.2}
"""Of the contrastive loss of SGL and SimGCL."""
SGL_DROP, SIMGCL_NOISE, NGCF_DROP = 0.1, 0.1, 0.1
DGCF = {"intents": 4, "iterations": 2, "hops": 1, "weight": 0.01}
OPTIONS: dict[str, dict[str, Any]] = {
    "mf": {},
    "lightgcn": {"hops": HOPS},
    "ngcf": {"hops": HOPS, "dropout": NGCF_DROP},
    "dgcf": DGCF,
    "sgl": {"hops": HOPS, "dropout": SGL_DROP, **VIEWS},
    "simgcl": {"hops": HOPS, "noise": SIMGCL_NOISE, **VIEWS},
}
"""Kind of a model -> its options."""
KINDS = {"BPR": "mf", "LightGCN": "lightgcn", "NGCF": "ngcf", "DGCF": "dgcf", "SGL": "sgl", "SimGCL": "simgcl"}
"""RecBole's name of a model -> ours."""
