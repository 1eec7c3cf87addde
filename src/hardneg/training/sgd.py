"""Stochastic gradient descent, one pair after the other, for models that are read as they are trained."""

from __future__ import annotations

import numpy as np
from torch import nn

from hardneg.compiled import reordering
from hardneg.errors import ConfigError
from hardneg.models import Anchor
from hardneg.models.config import TrainsOtherwise
from hardneg.models.kernels import prefetch_row, scores_to_gradients
from hardneg.training.losses import BPR, LossConfig
from hardneg.training.objective import Positives
from hardneg.types import Batch, Embeddings, Floats, Indices, Items, Negatives

PREFETCH_PAIRS = 4
"""Pairs between the current one and the one whose rows are prefetched."""


@reordering
def descend(pairs: Indices, items: Indices, users: Floats, table: Floats, rate: float, l2: float) -> float:
    """Change the rows of each pair in turn by its gradient x rate; return the sum of the losses, without L2.

    pairs: (batch,), the users. items: (batch, 1 + n), the positive first. users (n_users, size) and table (n_items, size) are
    changed in place. The loss is log(1 + sum_k exp(s_k - s_0)) + l2 / 2 x the squared norm of all rows of the pair.
    """
    n_items, size, total = items.shape[1], users.shape[1], 0.0
    shares, of_user = np.empty(n_items, np.float32), np.empty(size, np.float32)
    flat_users, flat_table = users.reshape(-1), table.reshape(-1)
    step, decay = np.float32(rate), np.float32(1 - rate * l2)
    for b in range(len(pairs)):
        ahead, user = min(b + PREFETCH_PAIRS, len(pairs) - 1), pairs[b]
        prefetch_row(flat_users, pairs[ahead] * size, size)
        for k in range(n_items):
            prefetch_row(flat_table, items[ahead, k] * size, size)
            item, score = items[b, k], np.float32(0.0)
            for d in range(size):
                score += users[user, d] * table[item, d]
            shares[k] = score
        total += scores_to_gradients(shares)
        of_user[:] = np.float32(0.0)
        for k in range(n_items):
            item, share, part = items[b, k], shares[k], step * shares[k]
            for d in range(size):
                of_user[d] += share * table[item, d]
                table[item, d] = decay * table[item, d] - part * users[user, d]
        for d in range(size):
            users[user, d] = decay * users[user, d] - step * of_user[d]
    return total


def require_trained_tables(model: nn.Module, loss: LossConfig, positives: Positives, anchor: Anchor | None) -> None:
    """Raise ConfigError where a pair's gradient is not of its own rows alone, or the loss has other parts."""
    tables: Embeddings = model()
    own = len(tables.users) == 1 and tables.users[0].is_leaf and not isinstance(model, TrainsOtherwise)
    if not own or tables.users[0].device.type != "cpu":
        raise ConfigError(
            f"fit.optimizer 'sgd' changes the rows of one pair after the other on the CPU, found {type(model).__name__} on "
            f"{tables.users[0].device.type}; choose the model mf, or fit.optimizer adam"
        )
    if loss != BPR():
        raise ConfigError(
            f"fit.optimizer 'sgd' has the loss bpr alone, found {loss.kind!r} with other options; choose adam"
        )
    if positives.weight not in (0, 1) or positives.triplets is not None or (anchor is not None and anchor.weight > 0):
        raise ConfigError(
            "fit.optimizer 'sgd' has no weights of extra positives, triplets or anchors, found one of them; choose adam"
        )


def descend_batch(tables: Embeddings, batch: Batch, negatives: Negatives, rate: float, l2: float) -> float:
    """Train on the pairs of a batch in order, with negatives that were sampled before it; return the mean loss.

    Rendle et al. (2009), LearnBPR, over shuffled pairs instead of draws with replacement. Raises ConfigError for
    negatives that are no items, or have weights or a loss of their own.
    """
    if not isinstance(negatives, Items) or negatives.weights is not None or negatives.auxiliary is not None:
        raise ConfigError(
            "fit.optimizer 'sgd' trains on negatives that are items without weights or a loss of their own, found others; "
            "choose the sampler uniform or dns, or fit.optimizer adam"
        )
    items = np.concatenate([batch.positives.unsqueeze(1).numpy(), negatives.items.numpy()], axis=1)
    users, table = (side[0].detach().numpy() for side in (tables.users, tables.items))
    return float(descend(batch.users.numpy(), items, users, table, rate, l2)) / len(items)
