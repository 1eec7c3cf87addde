"""Probabilities of a few given answers after each of several prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardneg.llm.local.forward import forward, padded_left
from hardneg.llm.local.prefixes import MIN_SHARED, n_common

if TYPE_CHECKING:
    from torch import Tensor


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
    cache = None
    with torch.no_grad():
        if shared:
            row = torch.tensor([list(prompts[0][:shared])], device=model.device)
            cache = forward(model, row, torch.ones_like(row), n_logits=1, use_cache=True).past_key_values
            cache.batch_repeat_interleave(len(prompts))
        mask = torch.cat([mask.new_ones(len(prompts), shared), mask], 1)
        output = forward(model, ids, mask, n_logits=1, use_cache=True, past_key_values=cache)
        scores: Tensor = output.logits[:, -1].float().log_softmax(-1)[:, [label[0] for label in labels]]
        if max(map(len, labels)) > 1:
            scores = scores + _later_tokens(model, mask, output.past_key_values, labels, pad)
    return scores


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Return the length of the prompts' common prefix, shorter than each of them; 0 if it is not worth a pass."""
    shared = min(min(n_common(prompts[0], prompt), len(prompt) - 1) for prompt in prompts)
    return shared if len(prompts) > 1 and shared >= MIN_SHARED else 0


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
    logits = forward(model, ids, mask, past_key_values=cache).logits.float().log_softmax(-1)
    each = logits.gather(2, padded[:, 1:].repeat(n_prompts, 1).unsqueeze(2)).squeeze(2)
    sums: Tensor = (each * counted.repeat(n_prompts, 1)).sum(1).view(n_prompts, n_labels)
    return sums
