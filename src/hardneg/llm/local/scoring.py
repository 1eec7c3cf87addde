"""Probabilities of given continuations under a causal language model; the shared prompt is computed once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardneg.llm.local.decoding import padded_left

if TYPE_CHECKING:
    from torch import Tensor


MIN_SHARED = 32
"""Minimum length of a common prefix that gets a pass of its own."""


def log_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], *, pad: int
) -> Tensor:
    """Return the log-probability of each label as the continuation of each prompt: (prompts, labels), float32.

    It is the sum over all tokens of the label, not their mean. Keys and values of a prompt are computed once for all
    labels, those of a common prefix once for all prompts.
    """
    import torch

    shared = shared_prefix(prompts)
    ids, mask = padded_left([prompt[shared:] for prompt in prompts], pad, model.device)
    with torch.no_grad():
        cache = _prefix_cache(model, prompts[0][:shared], len(prompts)) if shared else None
        mask = torch.cat([mask.new_ones(len(prompts), shared), mask], 1)
        output = _forward(model, ids, mask, n_logits=1, use_cache=True, past_key_values=cache)
        scores: Tensor = output.logits[:, -1].float().log_softmax(-1)[:, [label[0] for label in labels]]
        if max(map(len, labels)) > 1:
            scores = scores + _later_tokens(model, mask, output.past_key_values, labels, pad)
    return scores


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Return the length of the prompts' common prefix, shorter than each of them; 0 if it is not worth a pass."""
    first, limit = prompts[0], min(map(len, prompts)) - 1
    shared = next((n for n in range(limit) if any(prompt[n] != first[n] for prompt in prompts)), limit)
    return shared if len(prompts) > 1 and shared >= MIN_SHARED else 0


def _prefix_cache(model: Any, ids: Sequence[int], times: int) -> Any:
    """Return keys and values of a common prefix, repeated for each prompt."""
    import torch

    row = torch.tensor([list(ids)], device=model.device)
    cache = _forward(model, row, torch.ones_like(row), n_logits=1, use_cache=True).past_key_values
    cache.batch_repeat_interleave(times)
    return cache


def _later_tokens(model: Any, mask: Tensor, cache: Any, labels: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Return the sum over each label's tokens after the first one, (prompts, labels)."""
    import torch

    n_prompts, n_labels, longest = len(mask), len(labels), max(map(len, labels))
    padded = torch.tensor([[*label, *[pad] * (longest - len(label))] for label in labels], device=mask.device)
    lengths = torch.tensor([len(label) for label in labels], device=mask.device)
    counted = torch.arange(1, longest, device=mask.device) < lengths[:, None]
    cache.batch_repeat_interleave(n_labels)
    ids = padded[:, :-1].repeat(n_prompts, 1)
    mask = torch.cat([mask.repeat_interleave(n_labels, 0), torch.ones_like(ids)], 1)
    logits = _forward(model, ids, mask, past_key_values=cache).logits.float().log_softmax(-1)
    each = logits.gather(2, padded[:, 1:].repeat(n_prompts, 1).unsqueeze(2)).squeeze(2)
    sums: Tensor = (each * counted.repeat(n_prompts, 1)).sum(1).view(n_prompts, n_labels)
    return sums


def _forward(model: Any, ids: Tensor, mask: Tensor, *, n_logits: int = 0, **options: Any) -> Any:
    """Run the model on `ids`, the last columns of `mask`; n_logits: number of last positions with logits, 0 for all."""
    parameters = inspect.signature(model.forward).parameters
    if "position_ids" in parameters:
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if "logits_to_keep" in parameters:
        options["logits_to_keep"] = n_logits
    return model(input_ids=ids, attention_mask=mask, **options)
