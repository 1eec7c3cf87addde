"""A model of RecBole as one of the processes, through its own Trainer and loaders.

python recbole_peer.py DATA BPR|LightGCN|NGCF|DGCF|SGL|SimGCL uniform|dns [EVAL_BATCH_SIZE]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import recbole
import torch
from recbole_setup import prepare, set_rows
from worker import CANDIDATES, Data, K, run_actions

NEGATIVES: dict[str, dict[str, Any]] = {
    "uniform": {"distribution": "uniform", "sample_num": 1, "dynamic": False, "candidate_num": 0},
    "dns": {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": CANDIDATES},
}


def main(folder: str, model_name: str, sampler: str, eval_batch_size: str = "4096") -> None:
    data = Data.read(Path(folder))
    overrides = {"train_neg_sample_args": NEGATIVES[sampler], "eval_batch_size": int(eval_batch_size)}
    ready = prepare(Path(folder), data, model_name, **overrides)
    train, _, test = ready.loaders

    def epoch() -> Mapping[str, float]:
        ready.trainer.fit(train, saved=False, verbose=False)
        return {}

    def evaluation() -> Mapping[str, float]:
        _set_tables(ready, data)
        metrics = ready.trainer.evaluate(test, load_best_model=False)
        return {name: float(metrics[name]) for name in (f"recall@{K}", f"ndcg@{K}")}

    run_actions({"epoch": epoch, "evaluate": evaluation}, version=recbole.__version__)


def _set_tables(ready: Any, data: Data) -> None:
    """Replace the final tables of LightGCN, which RecBole keeps between batches of an evaluation."""
    model = ready.model
    model.restore_user_e, model.restore_item_e = (
        torch.zeros(n, data.users.shape[1]) for n in (model.n_users, model.n_items)
    )
    set_rows(model.restore_user_e, ready.users, data.users)
    set_rows(model.restore_item_e, ready.items, data.items)


if __name__ == "__main__":
    main(*sys.argv[1:])
