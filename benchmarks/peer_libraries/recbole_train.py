"""Train RecBole's LightGCN to the end with its own Trainer; write the best epoch's final tables in our order.

python recbole_train.py DATA OUT.npz SETTINGS-AS-JSON

SETTINGS: seed, epochs, learning_rate, l2, check_every, patience. The epoch is selected on RecBole's own validation
Recall@20. RecBole stops after stopping_step + 1 checks without improvement, so it gets patience - 1.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from recbole_setup import our_rows, prepare
from worker import Data, answer

USERS_AT_ONCE = 512


def main(folder: str, out: str, text: str) -> None:
    settings = json.loads(text)
    data = Data.read(Path(folder))
    ready = prepare(
        Path(folder),
        data,
        "LightGCN",
        seed=settings["seed"],
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        reg_weight=settings["l2"],
        eval_step=settings["check_every"],
        stopping_step=settings["patience"] - 1,
        eval_batch_size=USERS_AT_ONCE * (data.n_items + 1),
    )
    best: dict[str, Any] = {"score": -np.inf}

    def keep(epoch: int, score: float) -> None:
        if score > best["score"]:
            best.update(score=score, epoch=epoch + 1, state=copy.deepcopy(ready.model.state_dict()))

    train, valid, _ = ready.loaders
    ready.trainer.fit(train, valid, saved=False, verbose=False, callback_fn=keep)
    ready.model.load_state_dict(best["state"])
    users, items = ready.model()
    if not ready.items.all():
        raise SystemExit("an item is in no part of the split, so RecBole has no row for it; choose another split")
    np.savez(out, users=our_rows(users, ready.users), items=our_rows(items, ready.items))
    answer(valid_recall=float(best["score"]), best_epoch=best["epoch"], epochs=len(ready.trainer.train_loss_dict))


if __name__ == "__main__":
    main(*sys.argv[1:])
