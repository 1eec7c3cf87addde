"""RecBole's LightGCN with given tables, batches and negatives; prints the loss of every step as JSON.

python recbole_replay.py DATA TRIPLES.npz

TRIPLES holds users, items (the start tables), triples (epochs, pairs, 3) in training order, and batch_size. The loss,
the graph, propagation and autograd are RecBole's, the optimiser is torch's Adam as in RecBole's Trainer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole_setup import Recbole, prepare, set_rows
from worker import LEARNING_RATE, Data, answer


def step_losses(ready: Recbole, adam: torch.optim.Optimizer, triples: np.ndarray, batch_size: int) -> list[float]:
    model, losses = ready.model, []
    for start in range(0, len(triples), batch_size):
        users, positives, negatives = triples[start : start + batch_size].T
        fields = (model.USER_ID, ready.users[users]), (model.ITEM_ID, ready.items[positives])
        fields += ((model.NEG_ITEM_ID, ready.items[negatives]),)
        loss = model.calculate_loss(Interaction({name: torch.from_numpy(numbers) for name, numbers in fields}))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses


def main(folder: str, path: str) -> None:
    arrays = np.load(path)
    ready = prepare(Path(folder), Data.read(Path(folder)), "LightGCN")
    if not ready.items[arrays["triples"][:, :, 1:]].all():
        raise SystemExit("found an item that is in no part of the split, so RecBole has no row for it")
    set_rows(ready.model.user_embedding.weight, ready.users, arrays["users"])
    set_rows(ready.model.item_embedding.weight, ready.items, arrays["items"])
    adam = torch.optim.Adam(ready.model.parameters(), lr=LEARNING_RATE)
    batch_size = int(arrays["batch_size"])
    answer(losses=[step_losses(ready, adam, triples, batch_size) for triples in arrays["triples"]])


if __name__ == "__main__":
    main(*sys.argv[1:])
