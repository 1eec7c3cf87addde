"""Whether negatives pull users where true negatives would, known because the store is simulated. Feeds nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from hardneg.data.interactions import Interactions
from hardneg.data.truth import Truth, sigmoid
from hardneg.errors import DataError
from hardneg.types import Floats, Indices

USERS_AT_ONCE = 64


@dataclass(frozen=True)
class GradientBias:
    """Negative gradients beside those of true negatives.

    cosine: of the two, mean over users. relative_norm: mean norm of their difference over users, as a share of the mean
    norm of the true ones (no mean of ratios: users whose true gradient has all but vanished would be all of it).
    uniform_cosine, uniform_relative_norm: the same of what uniform negatives give on average, computed and not drawn.
    users: measured.
    """

    cosine: float
    relative_norm: float
    uniform_cosine: float
    uniform_relative_norm: float
    users: int


def negative_gradient_bias(
    vectors: Floats, user_table: Floats, item_table: Floats, train: Interactions, truth: Truth
) -> GradientBias:
    """Bias of the negative part of BPR's gradient for the users' embeddings.

    BPR's loss softplus(u.n - u.i) pulls e_u along sigmoid(u.n - u.i) n. Given: that, meaned over a user's train pairs
    (u, i) with their vectors n. True: the same with the expectation over items j in place of n, where j is unobserved
    and weighs 1 - P(u likes j). vectors: (pairs, size) by pair row, NaN where there is none (such pairs are left out of
    both sides). user_table: (n_users, size), item_table: (n_items, size). truth: in the split's numbering.

    One vector a pair is a draw, and its noise counts as bias; beside a sampler's figures belong those of one uniform
    item a pair. Hard negatives are meant to differ from uniform true ones: bias is a fact, not yet a fault.
    """
    if vectors.shape != (len(train), item_table.shape[1]):
        raise DataError(f"found vectors {vectors.shape}, expected {(len(train), item_table.shape[1])}")
    tables = np.asarray(user_table, np.float64), np.asarray(item_table, np.float64)
    measured = []
    for start in range(0, train.n_users, USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, train.n_users))
        given, true, uniform = _gradients(vectors, *tables, train, truth, users)
        known = (np.linalg.norm(given, axis=1) > 0) & (np.linalg.norm(true, axis=1) > 0)
        given, true, uniform = given[known], true[known], uniform[known]
        norms = np.linalg.norm(true, axis=1)
        measured.append(np.stack([*_beside(given, true), *_beside(uniform, true), norms], axis=1))
    found = np.concatenate(measured)
    if not len(found):
        raise DataError("no user has a pair with a vector; give vectors by pair row")
    cosine, difference, uniform_cosine, uniform_difference, true_norm = found.mean(axis=0).tolist()
    return GradientBias(cosine, difference / true_norm, uniform_cosine, uniform_difference / true_norm, len(found))


def _gradients(
    vectors: Floats, user_table: Floats, item_table: Floats, train: Interactions, truth: Truth, users: Indices
) -> tuple[Floats, Floats, Floats]:
    """(users, size) each: given, true and uniform, meaned over each user's pairs with a vector; 0 without any."""
    rows = np.arange(train.starts[users[0]], train.starts[users[-1] + 1])
    rows = rows[~np.isnan(vectors[rows, 0])]
    local, own = train.users[rows] - users[0], user_table[train.users[rows]]
    positive = np.einsum("bd,bd->b", own, item_table[train.items[rows]])
    counts = np.bincount(local, minlength=len(users))
    mean = csr_array((1 / counts[local], (local, np.arange(len(rows)))), shape=(len(users), len(rows)))
    served = np.asarray(vectors[rows], np.float64)
    given = mean @ (sigmoid(np.einsum("bd,bd->b", own, served) - positive)[:, None] * served)
    slopes = mean @ sigmoid((user_table[users] @ item_table.T)[local] - positive[:, None])
    free = train.matrix()[users].toarray() == 0
    true, uniform = (_expected(slopes, w, item_table) for w in (free * (1 - truth.like_probabilities(users)), free))
    return given, true, uniform


def _expected(slopes: Floats, weights: Floats, item_table: Floats) -> Floats:
    """(users, size): items by slope, meaned with the weights. slopes, weights: (users, n_items)."""
    shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return np.asarray((slopes * shares) @ item_table)


def _beside(one: Floats, true: Floats) -> tuple[Floats, Floats]:
    """(users,) cosine, and norm of the difference."""
    norms = np.linalg.norm(one, axis=1), np.linalg.norm(true, axis=1)
    cosine = np.einsum("bd,bd->b", one, true) / np.maximum(norms[0] * norms[1], 1e-300)
    return cosine, np.linalg.norm(one - true, axis=1)
