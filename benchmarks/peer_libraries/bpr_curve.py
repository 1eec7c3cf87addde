"""BPR of cornac or implicit, trained in parts: the tables after some passes, and the processor seconds so far.

python bpr_curve.py LIBRARY DATA OUT OPTIONS, from the folder where OUT is written; OPTIONS is JSON: passes, rate, l2, seed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from worker import EMBEDDING_SIZE, Data, answer

Tables = tuple[np.ndarray, np.ndarray]


def of_cornac(data: Data, rate: float, l2: float, seed: int) -> Callable[[int], Tables]:
    """Continue from the tables of the part before; the bias of an item is one more number of its row."""
    from cornac.models import BPR
    from cornac_bpr import dataset

    train, start, rng = dataset(data, data.train), dict[str, Any](), np.random.default_rng(seed)

    def run(passes: int) -> Tables:
        options = {"k": EMBEDDING_SIZE, "max_iter": passes, "learning_rate": rate, "lambda_reg": l2, "num_threads": 1}
        model = BPR(**options, seed=int(rng.integers(2**31)), init_params=start or None).fit(train)
        start.update(U=model.u_factors, V=model.i_factors, Bi=model.i_biases)
        ones = np.ones((data.n_users, 1), np.float32)
        return np.hstack([model.u_factors, ones]), np.hstack([model.i_factors, model.i_biases[:, None]])

    return run


def of_implicit(data: Data, rate: float, l2: float, seed: int) -> Callable[[int], Tables]:
    """Call `fit` again: it continues from its tables, which have the bias as one of their numbers."""
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit_bpr import matrix

    train = matrix(data, data.train)
    model = BayesianPersonalizedRanking(
        factors=EMBEDDING_SIZE, learning_rate=rate, regularization=l2, num_threads=1, random_state=seed
    )

    def run(passes: int) -> Tables:
        model.iterations = passes
        model.fit(train, show_progress=False)
        return model.user_factors, model.item_factors

    return run


def main(library: str, folder: str, out: str, options: str) -> None:
    data, settings = Data.read(Path(folder)), json.loads(options)
    passes = settings.pop("passes")
    run = {"cornac": of_cornac, "implicit": of_implicit}[library](data, **settings)
    done, seconds, tables = 0, 0.0, dict[str, np.ndarray]()
    for after in passes:
        started = time.process_time()
        users, items = run(after - done)
        seconds, done = seconds + time.process_time() - started, after
        tables |= {
            f"users-{after}": users.copy(),
            f"items-{after}": items.copy(),
            f"seconds-{after}": np.array(seconds),
        }
    np.savez(out, **tables)
    answer(passes=passes)


if __name__ == "__main__":
    main(*sys.argv[1:])
