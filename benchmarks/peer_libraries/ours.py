"""hardneg as one of the processes, through its public functions.

python ours.py DATA mf|lightgcn|ngcf|dgcf|sgl|simgcl uniform|dns|mixgcf [float32|float16|shortlist]

shortlist: evaluate with a 16-bit shortlist.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from backbone_options import OPTIONS
from torch import nn
from worker import BATCH, CANDIDATES, EMBEDDING_SIZE, HOPS, L2, LEARNING_RATE, Data, K, run_actions, skip

from hardneg.data import Interactions
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.models import LightGCNModel, MFModel, ModelConfig
from hardneg.sampling import DNS, MixGCF, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import FitConfig, fit_model
from hardneg.types import Embeddings

SAMPLERS = {"uniform": Uniform(), "dns": DNS(candidates=CANDIDATES), "mixgcf": MixGCF(candidates=CANDIDATES)}


def interactions(data: Data, pairs: np.ndarray) -> Interactions:
    return Interactions.of(pairs[:, 0], pairs[:, 1], n_users=data.n_users, n_items=data.n_items)


def build(train: Interactions, model: str, storage: str) -> nn.Module:
    if model == "mf":
        return MFModel(train, embedding_size=EMBEDDING_SIZE)
    if model != "lightgcn":
        return ModelConfig.model_validate({"kind": model, **OPTIONS[model]}).build(train, seed=0)
    if storage == "float32":
        return LightGCNModel(train, embedding_size=EMBEDDING_SIZE, hops=HOPS)
    if "storage" not in inspect.signature(LightGCNModel).parameters:
        skip(f"this hardneg's LightGCN has no option storage={storage!r}")
    return LightGCNModel(train, embedding_size=EMBEDDING_SIZE, hops=HOPS, storage=storage)


def main(folder: str, model_name: str, sampler_name: str, storage: str = "float32") -> None:
    torch.set_num_threads(1)
    data = Data.read(Path(folder))
    train, test, seen = (interactions(data, pairs) for pairs in (data.train, data.test, data.seen))
    model, sampler = (
        build(train, model_name, storage),
        SAMPLERS[sampler_name].build(SamplerInputs(EMBEDDING_SIZE, None, 0)),
    )
    candidates = UniformCandidates(train)
    config = FitConfig(epochs=1, batch_size=BATCH, learning_rate=LEARNING_RATE, l2=L2, check_every=1)
    tables = Embeddings((torch.from_numpy(data.users),), (torch.from_numpy(data.items),), "mean")

    def epoch() -> Mapping[str, float]:
        fit_model(model, train, sampler, candidates, config, validate=lambda _: {"recall@20": 0.0})
        return {}

    def evaluation() -> Mapping[str, float]:
        metrics = (f"recall@{K}", f"ndcg@{K}")
        score = inner_product(tables, shortlist=storage == "shortlist")
        return evaluate_scores(score, test, seen, metrics=metrics).means()

    run_actions({"epoch": epoch, "evaluate": evaluation}, version=metadata.version("hardneg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
