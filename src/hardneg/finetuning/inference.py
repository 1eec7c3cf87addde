"""Prompts to vectors, without gradients: batches of like length, and what pairs share computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hardneg.finetuning.encoding_cache import EncodingCache
from hardneg.finetuning.inputs import PairInputs, batch_of, lengths_of, padded, tensor
from hardneg.finetuning.model import HardNegativeEncoder, last
from hardneg.finetuning.perceptron import AnyEncoder
from hardneg.finetuning.template import Template, Tokenised
from hardneg.types import Floats, Indices

GROUP = 4
"""Batches whose prefixes are held at once, so that suffixes of like length can be batched."""


def encode_pairs(
    writer: AnyEncoder,
    inputs: PairInputs,
    tokens: Tokenised,
    rows: Indices,
    *,
    batch_size: int,
    shared: bool,
    parts: EncodingCache | None = None,
) -> Floats:
    """(len(rows), width) float32 vectors of unit length, one for every pair row.

    shared: compute the prefix (instruction and user) once a user, as `shares_prefixes` allows, and only an item's part
    for every pair; the vectors are the same within rounding. parts: of a writer that reads apart, kept from call to call.
    """
    out = np.empty((len(rows), writer.width), np.float32)
    if shared and isinstance(writer, HardNegativeEncoder) and writer.config.reading == "apart":
        batches = (parts or EncodingCache(writer, inputs, tokens, batch_size=batch_size)).vectors(rows)
    elif shared and isinstance(writer, HardNegativeEncoder):
        batches = _shared(writer, inputs, tokens, rows, batch_size)
    else:
        batches = _plain(writer, inputs, tokens, rows, batch_size)
    for places, found in batches:
        out[places] = torch.nn.functional.normalize(found, dim=1).cpu().numpy()
    return out


def shares_prefixes(writer: AnyEncoder, template: Template) -> bool:
    """True for a decoder that is pooled at its last token and whose attention reaches over whole prompts, and for an
    encoder that reads user and item apart."""
    if not isinstance(writer, HardNegativeEncoder):
        return False
    if writer.config.reading == "apart":
        return True
    window = getattr(writer.inner.config.get_text_config(), "sliding_window", None)
    return writer.decoder and writer.pooling == "last" and (window is None or template.longest <= window)


EncodedRows = Iterator[tuple[Indices, Tensor]]
"""Places in the wanted rows, and their vectors."""


def _plain(writer: AnyEncoder, inputs: PairInputs, tokens: Tokenised, rows: Indices, batch_size: int) -> EncodedRows:
    """Whole prompts, by length."""
    order = np.argsort(lengths_of(inputs, tokens, rows), kind="stable")
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        with torch.inference_mode():
            yield places, writer(batch_of(inputs, tokens, rows[places], writer.device))


def _shared(
    writer: HardNegativeEncoder, inputs: PairInputs, tokens: Tokenised, rows: Indices, batch_size: int
) -> EncodedRows:
    """Users by the length of their prefixes, a group at a time; the suffixes of a group by length."""
    for group in _groups(inputs, tokens, rows, batch_size * GROUP):
        users = np.unique(inputs.pairs.users[rows[group]])
        prefix = _Prefix(writer, inputs, tokens, users)
        order = group[np.argsort(tokens.suffix_lengths[inputs.pairs.items[rows[group]]], kind="stable")]
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            yield places, prefix.continued(rows[places])


def _groups(inputs: PairInputs, tokens: Tokenised, rows: Indices, most: int) -> Iterator[Indices]:
    """Places in `rows` of whole users, at most `most` together unless one user alone has more."""
    users = inputs.pairs.users[rows]
    order = np.lexsort((np.arange(len(rows)), users, tokens.prefix_lengths[users]))
    firsts = np.flatnonzero(np.diff(users[order], prepend=-1))
    start = 0
    for first, end in zip(firsts, [*firsts[1:], len(order)], strict=True):
        if end - start > most and first > start:
            yield order[start:first]
            start = int(first)
    if start < len(order):
        yield order[start:]


class _Prefix:
    """Keys and values of the prefixes of some users."""

    def __init__(self, writer: HardNegativeEncoder, inputs: PairInputs, tokens: Tokenised, users: Indices) -> None:
        from transformers import DynamicCache

        self._writer, self._inputs, self._tokens, self._users = writer, inputs, tokens, users
        ids, self._lengths = padded([tokens.prefixes[user] for user in users.tolist()], writer.device)
        self._mask = torch.arange(ids.shape[1], device=ids.device) < self._lengths[:, None]
        self._cache = DynamicCache()
        with torch.inference_mode(), writer.numbers():
            writer.inner(
                inputs_embeds=writer.embedded(ids, tensor(inputs.users[users], writer.device), None),
                attention_mask=self._mask.long(),
                past_key_values=self._cache,
                use_cache=True,
            )

    def continued(self, rows: Indices) -> Tensor:
        """(len(rows), width): the last token's state of each pair's prompt."""
        writer, pairs = self._writer, self._inputs.pairs
        items = pairs.items[rows]
        ids, lengths = padded([self._tokens.suffixes[item] for item in items.tolist()], writer.device)
        places = torch.from_numpy(np.searchsorted(self._users, pairs.users[rows])).to(writer.device)
        steps = torch.arange(ids.shape[1], device=writer.device)
        with torch.inference_mode(), writer.numbers():
            states = writer.inner(
                inputs_embeds=writer.embedded(ids, None, tensor(self._inputs.items[items], writer.device)),
                attention_mask=torch.cat([self._mask[places], steps < lengths[:, None]], dim=1).long(),
                position_ids=self._lengths[places][:, None] + steps,  # the gap behind a shorter prefix is no distance
                past_key_values=self._chosen(places),
                use_cache=True,
            ).last_hidden_state.float()
        return last(states, lengths)

    def _chosen(self, places: Tensor) -> object:
        """The prefixes of some pairs, apart from those that are kept."""
        chosen = copy.copy(self._cache)
        chosen.layers = [copy.copy(layer) for layer in self._cache.layers]
        chosen.batch_select_indices(places)  # makes new tensors
        return chosen
