"""Train a model of RecBole to the end with its own Trainer; write the best epoch's final tables in our order.

python recbole_train.py DATA OUT.npz SETTINGS-AS-JSON

SETTINGS: seed, epochs, learning_rate, l2, check_every, patience; model (LightGCN). EASE and ItemKNN are fitted, and the
scores of all pairs are written in place of tables. The epoch is selected on RecBole's own validation
Recall@20. RecBole stops after stopping_step + 1 checks without improvement, so it gets patience - 1.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole_setup import our_rows, prepare
from worker import Data, answer

USERS_AT_ONCE = 512


def main(folder: str, out: str, text: str) -> None:
    settings = json.loads(text)
    data = Data.read(Path(folder))
    ready = prepare(
        Path(folder),
        data,
        settings.get("model", "LightGCN"),
        seed=settings["seed"],
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        reg_weight=settings["l2"],
        eval_step=settings["check_every"],
        stopping_step=settings["patience"] - 1,
        eval_batch_size=USERS_AT_ONCE * (data.n_items + 1),
    )
    if not ready.items.all():
        raise SystemExit("an item is in no part of the split, so RecBole has no row for it; choose another split")
    if (scores := _fitted_scores(ready.model)) is not None:
        np.savez(out, scores=scores[ready.users][:, ready.items].astype(np.float32))
        answer(best_epoch=0, epochs=0)
        return
    best: dict[str, Any] = {"score": -np.inf}

    def keep(epoch: int, score: float) -> None:
        if score > best["score"]:
            best.update(score=score, epoch=epoch + 1, state=copy.deepcopy(ready.model.state_dict()))

    train, valid, _ = ready.loaders
    ready.trainer.fit(train, valid, saved=False, verbose=False, callback_fn=keep)
    ready.model.load_state_dict(best["state"])
    users, items = _final_tables(ready.model)
    np.savez(out, users=our_rows(users, ready.users), items=our_rows(items, ready.items))
    answer(valid_recall=float(best["score"]), best_epoch=best["epoch"], epochs=len(ready.trainer.train_loss_dict))


def _fitted_scores(model: Any) -> np.ndarray | None:
    """Return the scores (users, items) of a model without training, in RecBole's order; None for any other."""
    if hasattr(model, "item_similarity"):
        return np.asarray(model.interaction_matrix @ model.item_similarity)
    return model.pred_mat.toarray() if hasattr(model, "pred_mat") else None


@torch.no_grad()
def _final_tables(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    model.eval()  # without dropout
    if type(model).__name__ == "BPR":
        return model.user_embedding.weight, model.item_embedding.weight
    return model.forward(model.train_graph) if hasattr(model, "train_graph") else model()


if __name__ == "__main__":
    main(*sys.argv[1:])
