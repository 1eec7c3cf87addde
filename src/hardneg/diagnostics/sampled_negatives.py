"""What a sampler served, measured against the truth of a simulated store. Feeds nothing back."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F

from hardneg.data.interactions import Interactions
from hardneg.data.truth import Truth
from hardneg.types import Batch, Embeddings, Floats, Indices, Items, Negatives, Vectors

NEAREST_ITEM = "nearest item"
ITEM = "item"
SAMPLE = 1024
"""Rows of an epoch's first batch for which the nearest catalogue item is looked up."""


class SampledFalseNegatives:
    """Mean like-probability of what was served: the true false-negative rate (a training observer).

    Items are measured themselves (part "item"). Of vectors: each part's source items, and "nearest item", the
    catalogue item that the user was not observed with and whose pooled embedding has the largest cosine with the
    vector (first 1,024 rows of an epoch).
    """

    def __init__(self, truth: Truth, train: Interactions) -> None:
        self.truth, self.train = truth, train
        self._sums: dict[tuple[int, str], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def reads_tables(self, step: int) -> bool:
        """In the first step of an epoch, to look up nearest items."""
        return step == 0

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:
        """Add one step."""
        users = batch.users.cpu().numpy()
        if isinstance(negatives, Items):
            self._add(batch.epoch, ITEM, users, negatives.items.cpu().numpy())
            return
        sources = negatives.sources.cpu().numpy()
        for number, part in enumerate(negatives.parts):
            self._add(batch.epoch, part, users, sources[:, :, number])
        if embeddings is not None:
            rows = slice(0, SAMPLE)
            self._add(batch.epoch, NEAREST_ITEM, users[rows], self._nearest(users[rows], negatives, embeddings))

    def table(self) -> pl.DataFrame:
        """epoch, part, like_probability (mean), count."""
        rows = [
            {"epoch": epoch, "part": part, "like_probability": total / count, "count": int(count)}
            for (epoch, part), (total, count) in sorted(self._sums.items())
            if count
        ]
        schema = {"epoch": pl.Int64, "part": pl.String, "like_probability": pl.Float64, "count": pl.Int64}
        return pl.DataFrame(rows, schema=schema)

    def state(self) -> list[list[Any]]:
        """Rows of epoch, part, sum, count."""
        return [[epoch, part, total, count] for (epoch, part), (total, count) in self._sums.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from `state`."""
        self._sums.update({(epoch, part): [total, count] for epoch, part, total, count in state})

    def _add(self, epoch: int, part: str, users: Indices, items: Indices) -> None:
        known = items >= 0
        chosen = self.truth.like_probability(np.broadcast_to(users[:, None], items.shape)[known], items[known])
        total = self._sums[epoch, part]
        total[0] += float(chosen.sum())
        total[1] += int(known.sum())

    def _nearest(self, users: Indices, negatives: Vectors, embeddings: Embeddings) -> Indices:
        with torch.no_grad():
            vectors = F.normalize(negatives.vectors[: len(users), 0], dim=1)
            cosines = vectors @ F.normalize(embeddings.final_items, dim=1).T
            observed = torch.from_numpy(self.train.matrix()[users].toarray() > 0).to(cosines.device)
            return np.asarray(cosines.masked_fill(observed, -torch.inf).argmax(dim=1, keepdim=True).cpu().numpy())


def uniform_false_negative_rate(truth: Truth, train: Interactions) -> float:
    """What uniform sampling must serve, computed and not sampled.

    Every train pair asks once for one of its user's unobserved items, all equally likely, so the rate is the mean over
    train pairs of the mean like-probability over the user's unobserved items.
    """
    rates = np.empty(train.n_users)
    for start in range(0, train.n_users, SAMPLE):
        users = np.arange(start, min(start + SAMPLE, train.n_users))
        likes: Floats = truth.like_probabilities(users)
        free = train.matrix()[users].toarray() == 0
        rates[users] = (likes * free).sum(axis=1) / np.maximum(free.sum(axis=1), 1)
    return float(rates[train.users].mean())


class ExampleRecorder:
    """Keeps what the last epoch served to a few users, for people to look at (a training observer)."""

    def __init__(self, users: Indices) -> None:
        self.users = users
        self._rows: list[list[Any]] = []
        self._epoch = 0

    def reads_tables(self, step: int) -> bool:  # noqa: ARG002
        """Never: only who was served what."""
        return False

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:  # noqa: ARG002
        """Keep this step's rows of the chosen users; those of an earlier epoch are dropped."""
        if batch.epoch != self._epoch:
            self._epoch, self._rows = batch.epoch, []
        users, positives = batch.users.cpu().numpy(), batch.positives.cpu().numpy()
        for row in np.flatnonzero(np.isin(users, self.users)):
            if isinstance(negatives, Items):
                served = [(ITEM, int(item)) for item in negatives.items[row].tolist()]
            else:
                parts = negatives.sources[row].tolist()
                served = [(p, i) for n in parts for p, i in zip(negatives.parts, n, strict=True) if i >= 0]
            self._rows += [[int(users[row]), int(positives[row]), part, item] for part, item in served]

    def state(self) -> list[list[Any]]:
        """Rows of user, positive, part, item of the last epoch."""
        return self._rows

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from `state`; the next epoch replaces it."""
        self._rows = state

    def table(self) -> pl.DataFrame:
        """user, positive, part, item."""
        schema = {"user": pl.Int64, "positive": pl.Int64, "part": pl.String, "item": pl.Int64}
        return pl.DataFrame(self._rows, schema=schema, orient="row").sort("user", "positive", "part")
