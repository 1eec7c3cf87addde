"""Log-probabilities of given texts as continuations of one prompt."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hardneg.llm.local.forward import forward
from hardneg.types import Floats, Indices

if TYPE_CHECKING:
    from torch import Tensor

MAX_CACHED = 8192
"""Maximum number of tokens whose keys and values a pass holds, those of the prompt counted once for each row."""
MAX_LOGITS = 2**26
"""Maximum number of logits of a pass: positions times vocabulary."""


def continuation_log_probabilities(
    model: Any, prompt: Sequence[int], continuations: Sequence[Sequence[int]], *, pad: int
) -> Floats:
    """Return the log-probability of each continuation after the prompt, (continuations,).

    It is the sum over all tokens of the continuation, without an end token. Sums have 32 bits or more whatever the
    weights have. Keys and values of the prompt are computed once. Continuations of similar length share a pass, padded
    on the right, where a causal model does not see the padding.
    """
    import torch

    totals = np.empty(len(continuations))
    with torch.no_grad():
        row = torch.tensor([list(prompt)], device=model.device)
        output = forward(model, row, torch.ones_like(row), n_logits=1, use_cache=True)
        first = output.logits[0, -1].float().log_softmax(-1)
        totals[:] = first[[tokens[0] for tokens in continuations]].cpu().numpy()
        for rows in _passes([len(tokens) for tokens in continuations], len(prompt), len(first)):
            chosen = [continuations[index] for index in rows.tolist()]
            totals[rows] += _later_tokens(model, output.past_key_values, len(prompt), chosen, pad).cpu().numpy()
    return totals


def _passes(lengths: Sequence[int], n_prompt: int, n_vocabulary: int) -> Iterator[Indices]:
    """Yield the continuations of each pass, shortest first; those of one token need none."""
    order = np.argsort(lengths, kind="stable")
    order = order[np.searchsorted(np.asarray(lengths)[order], 2) :]
    start = 0
    while start < len(order):
        widths = np.asarray(lengths)[order[start:]] - 1  # the last token is not read
        sizes = np.arange(1, len(widths) + 1)
        fits = (sizes * (n_prompt + widths) <= MAX_CACHED) & (sizes * widths * n_vocabulary <= MAX_LOGITS)
        n = max(int(fits.sum()), 1)
        yield order[start : start + n]
        start += n


def _later_tokens(model: Any, cache: Any, n_prompt: int, continuations: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Return the sum over the tokens of each continuation after the first one, (continuations,), 64 bits."""
    import torch

    width = max(map(len, continuations))
    padded = torch.tensor([[*tokens, *[pad] * (width - len(tokens))] for tokens in continuations], device=model.device)
    mask = padded.new_ones(len(padded), n_prompt + width - 1)
    logits = forward(model, padded[:, :-1], mask, past_key_values=_repeated(cache, len(padded)), use_cache=True).logits
    sums = torch.empty(len(padded), dtype=torch.float64, device=padded.device)
    for index, tokens in enumerate(continuations):  # a row at a time, since 32-bit logits of all rows may be large
        scores = logits[index, : len(tokens) - 1].float()
        chosen = scores.gather(1, padded[index, 1 : len(tokens), None]).squeeze(1)
        sums[index] = (chosen - scores.logsumexp(1)).double().sum()
    return sums


def _repeated(cache: Any, n: int) -> Any:
    """Return a copy of the keys and values of one prompt for n rows; `cache` stays as it is."""
    repeated = copy.copy(cache)
    repeated.layers = [copy.copy(layer) for layer in cache.layers]
    repeated.batch_repeat_interleave(n)
    return repeated
