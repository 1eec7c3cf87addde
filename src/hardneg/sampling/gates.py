"""Operations that samplers with gates share: square matrices that mix the dimensions of an embedding, and chosen rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hardneg.errors import ConfigError
from hardneg.random import generator
from hardneg.sampling.sampler import require_known_rows
from hardneg.types import Embeddings, Vectors, gather_rows, pool


def gate_matrices(names: tuple[str, ...], size: int, *, seed: int, purpose: str) -> nn.ParameterDict:
    """Draw a (size, size) matrix per name, uniformly within +-sqrt(3 / size) (Glorot & Bengio, 2010)."""
    rng, bound = generator(seed, f"start of {purpose}"), np.sqrt(3.0 / size)
    draws = {name: rng.uniform(-bound, bound, (size, size)).astype(np.float32) for name in names}
    return nn.ParameterDict({name: nn.Parameter(torch.from_numpy(draw)) for name, draw in draws.items()})


def require_one_size(embeddings: Embeddings, kind: str) -> None:
    """Raise ConfigError where hops are concatenated: the gates have the size of a hop, which is then another one."""
    if embeddings.pooling == "concat" and len(embeddings.items) > 1:
        raise ConfigError(
            f"sampler {kind!r} found concatenated hops, expected pooling mean or sum; choose another pooling or model"
        )


def has_compiled_pass(*tensors: Tensor) -> bool:
    """Return True for tensors that compiled passes take: float32 in main memory."""
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def distinct_rows(table: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of distinct candidates, (m, size), and the place of every candidate among them, (batch, n).

    Raises DataError for candidates outside the table.
    """
    require_known_rows(candidates, table)
    chosen = torch.zeros(len(table), dtype=torch.bool, device=table.device)
    chosen[candidates.flatten()] = True
    index = chosen.nonzero().squeeze(1)
    places = torch.empty(len(table), dtype=torch.int64, device=table.device)
    places[index] = torch.arange(len(index), device=table.device)
    return gather_rows(table, index), places[candidates]


def chosen_vectors(embeddings: Embeddings, chosen: list[Tensor], rows: list[Tensor]) -> Vectors:
    """Return rows (batch, size) per hop, pooled, as negatives made of the chosen items (batch,) per hop."""
    return Vectors(
        vectors=pool(tuple(rows), embeddings.pooling).unsqueeze(1),
        ego=gather_rows(embeddings.items[0], chosen[0]).unsqueeze(1),
        sources=torch.stack(chosen, dim=1).unsqueeze(1),
        parts=tuple(f"hop {hop}" for hop in range(len(chosen))),
    )
