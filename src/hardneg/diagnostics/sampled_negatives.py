"""Training observers of sampled negatives: false-negative rates on simulated data, and examples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
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
"""Pairs of an epoch's first batch whose nearest catalogue item is looked up."""


@dataclass(frozen=True)
class HeldOutPairs:
    """Held-out pairs in the place of a ground truth: what is measured is the share of them, fewer than all liked items."""

    pairs: Interactions

    def like_probability(self, users: Indices, items: Indices) -> Floats:
        """Return 1 for held-out pairs and 0 for others."""
        return self.pairs.contains(users, items).astype(np.float64)


class SampledFalseNegatives:
    """True false-negative rate: the mean like-probability of the sampled negatives (a training observer).

    Sampled items have one part, "item". Vectors have a part for each kind of source item, and "nearest item": the
    unobserved item of the user with the largest cosine to the vector, for the first SAMPLE pairs of an epoch.
    """

    def __init__(self, truth: Truth | HeldOutPairs, train: Interactions) -> None:
        self.truth, self.train = truth, train
        self._sums: dict[tuple[int, str], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def reads_tables(self, step: int) -> bool:
        """Return True in the first step of an epoch, to look up nearest items."""
        return step == 0

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:
        """Add the negatives of one step."""
        users = batch.users.cpu().numpy()
        if isinstance(negatives, Items):
            self._add(batch.epoch, ITEM, users, negatives.items.cpu().numpy())
            return
        sources = negatives.sources.cpu().numpy()
        for number, part in enumerate(negatives.parts):
            self._add(batch.epoch, part, users, sources[:, :, number])
        if embeddings is not None:
            users = users[:SAMPLE]
            self._add(batch.epoch, NEAREST_ITEM, users, self._find_nearest(users, negatives, embeddings))

    def table(self) -> pl.DataFrame:
        """Return columns epoch, part, like_probability (mean) and count."""
        rows = [
            {"epoch": epoch, "part": part, "like_probability": total / count, "count": int(count)}
            for (epoch, part), (total, count) in sorted(self._sums.items())
            if count
        ]
        schema = {"epoch": pl.Int64, "part": pl.String, "like_probability": pl.Float64, "count": pl.Int64}
        return pl.DataFrame(rows, schema=schema)

    def state(self) -> list[list[Any]]:
        """Return rows of epoch, part, sum and count."""
        return [[epoch, part, total, count] for (epoch, part), (total, count) in self._sums.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Continue from a saved state."""
        self._sums.update({(epoch, part): [total, count] for epoch, part, total, count in state})

    def _add(self, epoch: int, part: str, users: Indices, items: Indices) -> None:
        is_item = items >= 0
        likes = self.truth.like_probability(np.broadcast_to(users[:, None], items.shape)[is_item], items[is_item])
        total = self._sums[epoch, part]
        total[0] += float(likes.sum())
        total[1] += int(is_item.sum())

    def _find_nearest(self, users: Indices, negatives: Vectors, embeddings: Embeddings) -> Indices:
        with torch.no_grad():
            vectors = F.normalize(negatives.vectors[: len(users), 0], dim=1)
            cosines = vectors @ F.normalize(embeddings.final_items, dim=1).T
            observed = torch.from_numpy(self.train.matrix()[users].toarray() > 0).to(cosines.device)
            return np.asarray(cosines.masked_fill(observed, -torch.inf).argmax(dim=1, keepdim=True).cpu().numpy())


def uniform_false_negative_rate(truth: Truth, train: Interactions) -> float:
    """Return the expected false-negative rate of uniform sampling.

    Each train pair gets one of its user's unobserved items, all equally likely. The rate is the mean over train pairs
    of the mean like-probability of these items.
    """
    rates = np.empty(train.n_users)
    for users in np.split(np.arange(train.n_users), range(SAMPLE, train.n_users, SAMPLE)):
        likes: Floats = truth.like_probabilities(users)
        unobserved = train.matrix()[users].toarray() == 0
        rates[users] = (likes * unobserved).sum(axis=1) / np.maximum(unobserved.sum(axis=1), 1)
    return float(rates[train.users].mean())


class ExampleRecorder:
    """Records the sampled negatives of a few users in the last epoch (a training observer)."""

    def __init__(self, users: Indices) -> None:
        self.users = users
        self._rows: list[list[Any]] = []
        self._epoch = 0

    def reads_tables(self, step: int) -> bool:  # noqa: ARG002
        """Return False: embeddings are not needed."""
        return False

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:  # noqa: ARG002
        """Record the rows of the chosen users, in place of those of earlier epochs."""
        if batch.epoch != self._epoch:
            self._epoch, self._rows = batch.epoch, []
        users, positives = batch.users.cpu().numpy(), batch.positives.cpu().numpy()
        for row in np.flatnonzero(np.isin(users, self.users)):
            if isinstance(negatives, Items):
                sources = [(ITEM, int(item)) for item in negatives.items[row].tolist()]
            else:
                parts = negatives.sources[row].tolist()
                sources = [(p, i) for n in parts for p, i in zip(negatives.parts, n, strict=True) if i >= 0]
            self._rows += [[int(users[row]), int(positives[row]), part, item] for part, item in sources]

    def state(self) -> list[list[Any]]:
        """Return rows of user, positive, part and item of the last epoch."""
        return self._rows

    def restore(self, state: list[list[Any]]) -> None:
        """Continue from a saved state; the next epoch replaces it."""
        self._rows = state

    def table(self) -> pl.DataFrame:
        """Return columns user, positive, part and item."""
        schema = {"user": pl.Int64, "positive": pl.Int64, "part": pl.String, "item": pl.Int64}
        return pl.DataFrame(self._rows, schema=schema, orient="row").sort("user", "positive", "part")
