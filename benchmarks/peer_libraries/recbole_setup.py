"""RecBole's config, dataset, loaders, model and trainer over the exported data."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from backbone_options import DGCF, NGCF_DROP, SGL_DROP, SIMGCL_NOISE, VIEWS
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from recbole_simgcl import SimGCL
from worker import BATCH, EMBEDDING_SIZE, HOPS, L2, LEARNING_RATE, Data, K

NAME = "pairs"
OWN_MODELS = {"SimGCL": SimGCL}
"""Models that RecBole lacks."""
MODEL_SETTINGS: dict[str, dict[str, Any]] = {
    "NGCF": {"hidden_size_list": [EMBEDDING_SIZE] * HOPS, "message_dropout": NGCF_DROP, "node_dropout": 0.0},
    "DGCF": {
        "n_factors": DGCF["intents"],
        "n_iterations": DGCF["iterations"],
        "n_layers": DGCF["hops"],
        "cor_weight": DGCF["weight"],
    },
    "SGL": {
        "type": "ED",
        "drop_ratio": SGL_DROP,
        "ssl_tau": VIEWS["temperature"],
        "ssl_weight": VIEWS["weight"],
    },
    "SimGCL": {"noise": SIMGCL_NOISE, **VIEWS},
}
"""Settings of single models, with those of our models."""


@dataclass(frozen=True)
class Recbole:
    """Objects of a RecBole training, and its indices of our users and items.

    users, items: (n_users,), (n_items,) RecBole's index of each of ours, 0 (its padding) if it has none.
    """

    model: torch.nn.Module
    trainer: Any
    loaders: tuple[Any, Any, Any]
    users: np.ndarray
    items: np.ndarray


def write_atomic(folder: Path, data: Data) -> None:
    """Write the three parts in RecBole's format, once."""
    target = folder / NAME
    target.mkdir(exist_ok=True)
    for part in ("train", "valid", "test"):
        path = target / f"{NAME}.{part}.inter"
        if not path.exists():
            lines = "".join(f"{user}\t{item}\n" for user, item in getattr(data, part))
            temporary = path.with_suffix(f".{id(lines)}")
            temporary.write_text("user_id:token\titem_id:token\n" + lines)
            temporary.rename(path)


def settings(folder: Path, **overrides: Any) -> dict[str, Any]:
    return {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "embedding_size": EMBEDDING_SIZE,
        "n_layers": HOPS,
        "reg_weight": L2,
        "require_pow": True,
        "learning_rate": LEARNING_RATE,
        "train_batch_size": BATCH,
        "epochs": 1,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "RO", "group_by": "user", "mode": "full"},
        "metrics": ["Recall", "NDCG"],
        "topk": [K],
        "valid_metric": f"Recall@{K}",
        "metric_decimal_place": 12,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "checkpoint_dir": str(folder / "saved"),
    } | overrides


def prepare(folder: Path, data: Data, model_name: str, **overrides: Any) -> Recbole:
    torch.set_num_threads(1)
    write_atomic(folder, data)
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    own = OWN_MODELS.get(model_name)
    given = settings(folder, **MODEL_SETTINGS.get(model_name, {}) | overrides)
    config = Config(model=own or model_name, dataset=NAME, config_dict=given)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    model = (own or get_model(config["model"]))(config, loaders[0].dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    users, items = (
        _indices(dataset.field2id_token[field], n)
        for field, n in (("user_id", data.n_users), ("item_id", data.n_items))
    )
    return Recbole(model, trainer, loaders, users, items)


def _indices(tokens: np.ndarray, n: int) -> np.ndarray:
    indices = np.zeros(n, np.int64)
    indices[[int(token) for token in tokens[1:]]] = np.arange(1, len(tokens))
    return indices


def set_rows(table: torch.Tensor, numbers: np.ndarray, rows: np.ndarray) -> None:
    """Copy our rows into RecBole's table, if RecBole knows them."""
    known = numbers > 0
    with torch.no_grad():
        table[torch.from_numpy(numbers[known])] = torch.from_numpy(rows[known]).to(table.dtype)


def our_rows(table: torch.Tensor, numbers: np.ndarray) -> np.ndarray:
    """Return RecBole's table in our order; zeros for unknown rows."""
    rows = table.detach()[torch.from_numpy(numbers)].numpy()
    return np.where((numbers > 0)[:, None], rows, 0).astype(np.float32)
