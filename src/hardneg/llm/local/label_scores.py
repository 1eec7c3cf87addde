"""Probabilities of a few given answers after each of several prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hardneg.llm.local.cached_rows import CachedRows
from hardneg.llm.local.decoding import supports_cached_rows
from hardneg.llm.local.forward import forward, padded_left
from hardneg.llm.local.prefixes import MIN_SHARED, PrefixCache, n_common
from hardneg.llm.local.shared_prompts import SharedPrompts

if TYPE_CHECKING:
    from torch import Tensor


def log_probabilities(
    model: Any,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    pad: int,
    prefixes: PrefixCache | None = None,
) -> Tensor:
    """Return the log-probability of each label as the continuation of each prompt: (prompts, labels), float32.

    It is the sum over all tokens of the label, not their mean. Keys and values of a prompt are computed once for all
    labels, those of common beginnings once for the prompts that share them. prefixes: keeps a prefix of all prompts for
    later calls.
    """
    if supports_cached_rows(model):
        return _score_rows(model, prompts, labels, prefixes or PrefixCache(model))
    return _score_padded(model, prompts, labels, pad)


def _score_rows(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], prefixes: PrefixCache
) -> Tensor:
    """Return `log_probabilities` from rows of keys and values, without padding."""
    import torch

    shared, n_prompts = SharedPrompts(model, prompts, prefixes), len(prompts)
    rows = CachedRows(model, shared.prefix)
    ordered, tokens = shared.add_to(rows, range(n_prompts), max(map(len, prompts)) - shared.depth)
    scores = rows.append(tokens, [1] * n_prompts).log_softmax(-1)[:, [label[0] for label in labels]]
    for column, label in enumerate(labels):
        if len(label) > 1:
            continued = CachedRows(model, shared.prefix)
            continued.add(n_prompts, max(rows.lengths) + len(label), rows, range(n_prompts))
            later = continued.append([label[:-1]] * n_prompts, [len(label) - 1] * n_prompts).log_softmax(-1)
            targets = torch.tensor(label[1:], device=later.device).repeat(n_prompts, 1)
            scores[:, column] += later.view(*targets.shape, -1).gather(2, targets.unsqueeze(2)).squeeze(2).sum(1)
    in_order = torch.empty_like(scores)
    in_order[ordered] = scores
    return in_order


def _score_padded(model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Return `log_probabilities` from prompts that are padded on the left, sharing what all of them begin with."""
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
