"""Scores of candidates and selection by rank. `sampler.hardest` does both in one pass for the best candidate."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.sampling.kernels import pick_ranked, score_candidates
from hardneg.sampling.sampler import require_known_rows, scores


def score_all(queries: Tensor, table: Tensor, candidates: Tensor) -> Tensor:
    """Return the inner products of each query with the rows of its candidates, (batch, n) float32, without gradients.

    queries: (batch, size). table: (n_items, size). candidates: (batch, n).
    """
    queries, table = queries.detach(), table.detach()
    require_known_rows(candidates, table)
    if queries.device.type != "cpu":
        return scores(queries, F.embedding(candidates, table))
    out = np.empty(candidates.shape, np.float32)
    arrays = (tensor.contiguous().numpy() for tensor in (queries, table, candidates))
    in_chunks(score_candidates, len(queries), *arrays, out)
    return torch.from_numpy(out)


def pick_by_rank(preferences: Tensor, ranks: Tensor | None = None) -> Tensor:
    """Return the column of the preference with the given rank in each row of preferences (batch, n): (batch,).

    ranks: (batch,) of 0..n - 1, where 0 is the largest; None for 0. Of equal preferences the first ranks higher. A row
    with NaN returns the first NaN, as `hardest` does.
    """
    if ranks is None:
        ranks = torch.zeros(len(preferences), dtype=torch.int64, device=preferences.device)
    if preferences.device.type != "cpu":
        ranks = torch.where(preferences.isnan().any(dim=1), 0, ranks)
        return preferences.sort(dim=1, descending=True, stable=True).indices.gather(1, ranks.unsqueeze(1)).squeeze(1)
    places = np.empty(len(preferences), np.int64)
    pick_ranked(preferences.contiguous().numpy(), ranks.contiguous().numpy(), places)
    return torch.from_numpy(places)
