"""One pass of a causal language model, and batches padded on the left."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def padded_left(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """Return ids (rows, longest row) padded on the left and the mask, 1 where a token is not padding."""
    import torch

    ids = torch.full((len(rows), max(map(len, rows))), pad)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, ids.shape[1] - len(row) :] = torch.tensor(row)
        mask[index, ids.shape[1] - len(row) :] = 1
    return ids.to(device), mask.to(device)


def forward(model: Any, ids: Tensor, mask: Tensor, *, n_logits: int = 0, **options: Any) -> Any:
    """Run the model on `ids`, the last columns of `mask`; n_logits: number of last positions with logits, 0 for all."""
    parameters = inspect.signature(model.forward).parameters
    if "position_ids" in parameters:
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if "logits_to_keep" in parameters:
        options["logits_to_keep"] = n_logits
    return model(input_ids=ids, attention_mask=mask, **options)
