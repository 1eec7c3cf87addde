"""implicit's BPR as one of the processes: sequential SGD, one pair at a time.

python implicit_bpr.py DATA
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import implicit
import numpy as np
from implicit.bpr import BayesianPersonalizedRanking
from implicit.evaluation import ranking_metrics_at_k
from scipy.sparse import csr_matrix
from worker import EMBEDDING_SIZE, L2, PASSES, Data, K, run_actions


def matrix(data: Data, pairs: np.ndarray) -> csr_matrix:
    ones = np.ones(len(pairs), np.float32)
    return csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(data.n_users, data.n_items))


def model(**options: int) -> BayesianPersonalizedRanking:
    return BayesianPersonalizedRanking(
        factors=EMBEDDING_SIZE, learning_rate=0.05, regularization=L2, num_threads=1, random_state=0, **options
    )


def main(folder: str) -> None:
    data = Data.read(Path(folder))
    train, seen, test = (matrix(data, pairs) for pairs in (data.train, data.seen, data.test))
    random_model = model()
    random_model.user_factors, random_model.item_factors = data.users, data.items

    def epoch() -> Mapping[str, float]:
        model(iterations=PASSES).fit(train, show_progress=False)
        return {"passes": PASSES}

    def evaluation() -> Mapping[str, float]:
        metrics = ranking_metrics_at_k(random_model, seen, test, K=K, show_progress=False, num_threads=1)
        return {f"ndcg@{K}": float(metrics["ndcg"])}

    run_actions({"epoch": epoch, "evaluate": evaluation}, version=implicit.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
