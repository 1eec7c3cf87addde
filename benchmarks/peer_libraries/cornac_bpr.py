"""cornac's BPR as one of the processes: sequential SGD, one pair at a time.

python cornac_bpr.py DATA
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import cornac
import numpy as np
from cornac.data import Dataset
from cornac.eval_methods.base_method import ranking_eval
from cornac.metrics import NDCG, Recall
from cornac.models import BPR
from worker import EMBEDDING_SIZE, L2, PASSES, Data, K, run_actions


def dataset(data: Data, pairs: np.ndarray) -> Dataset:
    """Build a dataset that keeps our indices: both maps contain every user and item."""
    users, items = (OrderedDict((i, i) for i in range(n)) for n in (data.n_users, data.n_items))
    triples = [(int(user), int(item), 1.0) for user, item in pairs]
    return Dataset.build(triples, fmt="UIR", global_uid_map=users, global_iid_map=items, exclude_unknowns=False)


def main(folder: str) -> None:
    data = Data.read(Path(folder))
    train, valid, test = (dataset(data, pairs) for pairs in (data.train, data.valid, data.test))
    tables = {"U": data.users, "V": data.items, "Bi": np.zeros(data.n_items, np.float32)}
    random_model = BPR(k=EMBEDDING_SIZE, trainable=False, init_params=tables, num_threads=1).fit(train)

    def epoch() -> Mapping[str, float]:
        BPR(k=EMBEDDING_SIZE, max_iter=PASSES, learning_rate=0.05, lambda_reg=L2, num_threads=1, seed=0).fit(train)
        return {"passes": PASSES}

    def evaluation() -> Mapping[str, float]:
        metrics = [Recall(k=K), NDCG(k=K)]
        recall, ndcg = ranking_eval(random_model, metrics, train, test, val_set=valid, exclude_unknowns=False)[0]
        return {f"recall@{K}": float(recall), f"ndcg@{K}": float(ndcg)}

    run_actions({"epoch": epoch, "evaluate": evaluation}, version=cornac.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
