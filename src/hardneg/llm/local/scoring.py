"""Probabilities of given continuations under a causal language model, the shared prompt computed once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardneg.llm.local.decoding import padded_left

if TYPE_CHECKING:
    from torch import Tensor


WORTH = 32
"""Tokens that all prompts begin with, from which on they are computed once for all of them."""


def log_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], *, pad: int
) -> Tensor:
    """Log-probability of each label as the continuation of each prompt: (prompts, labels), float32.

    It is the sum over the label's tokens, none of which is left out or averaged. The prompts' keys and values are
    computed once and used by all labels; those of the tokens that all prompts begin with once for all prompts.
    """
    import torch

    shared = common_start(prompts)
    ids, mask = padded_left([prompt[shared:] for prompt in prompts], pad, model.device)
    with torch.no_grad():
        cache = _start(model, prompts[0][:shared], len(prompts)) if shared else None
        mask = torch.cat([mask.new_ones(len(prompts), shared), mask], 1)
        made = _forward(model, ids, mask, kept=1, use_cache=True, past_key_values=cache)
        found = made.logits[:, -1].float().log_softmax(-1)[:, [label[0] for label in labels]]
        if max(map(len, labels)) > 1:
            found = found + _rest(model, mask, made.past_key_values, labels, pad)
    scores: Tensor = found
    return scores


def common_start(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, each of them going on after it; 0 where that is not worth a pass."""
    first, least = prompts[0], min(map(len, prompts)) - 1
    shared = next((n for n in range(least) if any(prompt[n] != first[n] for prompt in prompts)), least)
    return shared if len(prompts) > 1 and shared >= WORTH else 0


def _start(model: Any, ids: Sequence[int], times: int) -> Any:
    """Keys and values of the tokens that all prompts begin with, for so many prompts."""
    import torch

    row = torch.tensor([list(ids)], device=model.device)
    cache = _forward(model, row, torch.ones_like(row), kept=1, use_cache=True).past_key_values
    cache.batch_repeat_interleave(times)
    return cache


def _rest(model: Any, mask: Tensor, cache: Any, labels: Sequence[Sequence[int]], pad: int) -> Tensor:
    """The sum over the labels' tokens from the second one on, (prompts, labels)."""
    import torch

    n_prompts, n_labels, longest = len(mask), len(labels), max(map(len, labels))
    padded = torch.tensor([[*label, *[pad] * (longest - len(label))] for label in labels], device=mask.device)
    counted = torch.tensor(
        [[place < len(label) for place in range(1, longest)] for label in labels], device=mask.device
    )
    cache.batch_repeat_interleave(n_labels)
    ids = padded[:, :-1].repeat(n_prompts, 1)
    seen = torch.cat([mask.repeat_interleave(n_labels, 0), torch.ones_like(ids)], 1)
    logits = _forward(model, ids, seen, past_key_values=cache).logits.float().log_softmax(-1)
    each = logits.gather(2, padded[:, 1:].repeat(n_prompts, 1).unsqueeze(2)).squeeze(2)
    sums: Tensor = (each * counted.repeat(n_prompts, 1)).sum(1).view(n_prompts, n_labels)
    return sums


def _forward(model: Any, ids: Tensor, mask: Tensor, *, kept: int = 0, **options: Any) -> Any:
    """The model's output for `ids`, the last columns of `mask`; kept: how many last positions need logits, 0 for all."""
    known = inspect.signature(model.forward).parameters
    if "position_ids" in known:
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if "logits_to_keep" in known:
        options["logits_to_keep"] = kept
    return model(input_ids=ids, attention_mask=mask, **options)
