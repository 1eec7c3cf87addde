"""Encoding of pairs without gradients: batches of similar length, shared prefixes computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hardneg.finetuning.encoding_cache import EncodingCache
from hardneg.finetuning.inputs import PairInputs, float_tensor, pad_ids, prompt_batch, prompt_lengths
from hardneg.finetuning.model import HardNegativeEncoder, last_states
from hardneg.finetuning.perceptron import AnyEncoder
from hardneg.finetuning.template import Template, TokenisedPrompts
from hardneg.types import Floats, Indices

GROUP_BATCHES = 4
"""Batches whose prefixes are in memory at a time, so that suffixes of similar length can be batched."""


def encode_pairs(
    encoder: AnyEncoder,
    inputs: PairInputs,
    tokens: TokenisedPrompts,
    rows: Indices,
    *,
    batch_size: int,
    share_prefixes: bool,
    cache: EncodingCache | None = None,
) -> Floats:
    """Return (len(rows), width) float32 unit vectors, one per pair index.

    share_prefixes: compute the prefix (instruction and user) once per user, and only the item's part for every pair. This
    requires `shares_prefixes`; the vectors are equal within rounding. cache: for late interaction, reused across calls.
    """
    vectors = np.empty((len(rows), encoder.width), np.float32)
    if share_prefixes and isinstance(encoder, HardNegativeEncoder) and encoder.config.reading == "apart":
        batches = (cache or EncodingCache(encoder, inputs, tokens, batch_size=batch_size)).vectors(rows)
    elif share_prefixes and isinstance(encoder, HardNegativeEncoder):
        batches = _encode_by_user(encoder, inputs, tokens, rows, batch_size)
    else:
        batches = _encode_prompts(encoder, inputs, tokens, rows, batch_size)
    for positions, batch in batches:
        vectors[positions] = torch.nn.functional.normalize(batch, dim=1).cpu().numpy()
    return vectors


def shares_prefixes(encoder: AnyEncoder, template: Template) -> bool:
    """Return True if the prefix of a user can be computed once for all pairs.

    That holds for late interaction, and for a decoder that is pooled at its last token and attends to whole prompts.
    """
    if not isinstance(encoder, HardNegativeEncoder):
        return False
    if encoder.config.reading == "apart":
        return True
    window = getattr(encoder.inner.config.get_text_config(), "sliding_window", None)
    return encoder.decoder and encoder.pooling == "last" and (window is None or template.longest <= window)


EncodedRows = Iterator[tuple[Indices, Tensor]]
"""Positions in the requested rows, and their vectors."""


def _encode_prompts(
    encoder: AnyEncoder, inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, batch_size: int
) -> EncodedRows:
    """Encode whole prompts, sorted by length."""
    order = np.argsort(prompt_lengths(inputs, tokens, rows), kind="stable")
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        with torch.inference_mode():
            yield positions, encoder(prompt_batch(inputs, tokens, rows[positions], encoder.device))


def _encode_by_user(
    encoder: HardNegativeEncoder, inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, batch_size: int
) -> EncodedRows:
    """Encode groups of users with prefixes of similar length; within a group, suffixes sorted by length."""
    for group in _group_users(inputs, tokens, rows, batch_size * GROUP_BATCHES):
        users = np.unique(inputs.pairs.users[rows[group]])
        prefixes = _Prefixes(encoder, inputs, tokens, users)
        order = group[np.argsort(tokens.suffix_lengths[inputs.pairs.items[rows[group]]], kind="stable")]
        for start in range(0, len(order), batch_size):
            positions = order[start : start + batch_size]
            yield positions, prefixes.continue_with(rows[positions])


def _group_users(inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, max_size: int) -> Iterator[Indices]:
    """Yield positions in `rows`: all pairs of some users, at most `max_size` unless a single user has more."""
    users = inputs.pairs.users[rows]
    order = np.lexsort((np.arange(len(rows)), users, tokens.prefix_lengths[users]))
    firsts = np.flatnonzero(np.diff(users[order], prepend=-1))
    start = 0
    for first, end in zip(firsts, [*firsts[1:], len(order)], strict=True):
        if end - start > max_size and first > start:
            yield order[start:first]
            start = int(first)
    if start < len(order):
        yield order[start:]


class _Prefixes:
    """Keys and values of the prefixes of some users."""

    def __init__(
        self, encoder: HardNegativeEncoder, inputs: PairInputs, tokens: TokenisedPrompts, users: Indices
    ) -> None:
        from transformers import DynamicCache

        self._encoder, self._inputs, self._tokens, self._users = encoder, inputs, tokens, users
        ids, self._lengths = pad_ids([tokens.prefixes[user] for user in users.tolist()], encoder.device)
        self._mask = torch.arange(ids.shape[1], device=ids.device) < self._lengths[:, None]
        self._cache = DynamicCache()
        with torch.inference_mode(), encoder.autocast():
            encoder.inner(
                inputs_embeds=encoder.embed(ids, float_tensor(inputs.users[users], encoder.device), None),
                attention_mask=self._mask.long(),
                past_key_values=self._cache,
                use_cache=True,
            )

    def continue_with(self, rows: Indices) -> Tensor:
        """Return (len(rows), width): the last token's state of each pair's prompt."""
        encoder, pairs = self._encoder, self._inputs.pairs
        items = pairs.items[rows]
        ids, lengths = pad_ids([self._tokens.suffixes[item] for item in items.tolist()], encoder.device)
        prefixes = torch.from_numpy(np.searchsorted(self._users, pairs.users[rows])).to(encoder.device)
        steps = torch.arange(ids.shape[1], device=encoder.device)
        with torch.inference_mode(), encoder.autocast():
            states = encoder.inner(
                inputs_embeds=encoder.embed(ids, None, float_tensor(self._inputs.items[items], encoder.device)),
                attention_mask=torch.cat([self._mask[prefixes], steps < lengths[:, None]], dim=1).long(),
                position_ids=self._lengths[prefixes][:, None] + steps,  # padding of a short prefix takes no positions
                past_key_values=self._select(prefixes),
                use_cache=True,
            ).last_hidden_state.float()
        return last_states(states, lengths)

    def _select(self, prefixes: Tensor) -> object:
        """Return a copy of the cache with the given prefixes."""
        cache = copy.copy(self._cache)
        cache.layers = [copy.copy(layer) for layer in self._cache.layers]
        cache.batch_select_indices(prefixes)  # allocates new tensors
        return cache
