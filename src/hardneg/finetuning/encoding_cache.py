"""Encodings of users and items for late interaction: users one group at a time, items once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hardneg.finetuning.inputs import PairInputs, float_tensor, pad_ids
from hardneg.finetuning.late_interaction import EncodedSide, encode_side, join_sides
from hardneg.finetuning.model import HardNegativeEncoder
from hardneg.finetuning.template import TokenisedPrompts
from hardneg.types import Floats, Indices

GROUP_BATCHES = 16
"""Batches of users whose encodings are in memory at a time."""
MAX_CACHE_BYTES = 4 * 2**30
"""Maximum size of the cached item encodings; those of a larger catalogue are computed again for every shard."""


class EncodingCache:
    """Encodes users and items, and caches the items (as float16) if the catalogue fits."""

    def __init__(
        self, encoder: HardNegativeEncoder, inputs: PairInputs, tokens: TokenisedPrompts, *, batch_size: int
    ) -> None:
        self._encoder, self._inputs, self._tokens, self._batch_size = encoder, inputs, tokens, batch_size
        longest = int(tokens.suffix_lengths.max(initial=1))
        self._fits = len(tokens.suffixes) * longest * encoder.width * 4 <= MAX_CACHE_BYTES
        self._all_items: EncodedSide | None = None

    def vectors(self, rows: Indices) -> Iterator[tuple[Indices, Tensor]]:
        """Yield positions in `rows` with the vectors of these pairs."""
        users, items = self._inputs.pairs.users[rows], self._inputs.pairs.items[rows]
        suffixes, item_at = self._encode_items(items)
        distinct, user_at = np.unique(users, return_inverse=True)
        for start in range(0, len(distinct), self._batch_size * GROUP_BATCHES):
            group = distinct[start : start + self._batch_size * GROUP_BATCHES]
            prefixes = self._encode(self._tokens.prefixes, self._inputs.users, group, users=True)
            positions = np.flatnonzero((user_at >= start) & (user_at < start + len(group)))
            for part in np.array_split(positions, max(len(positions) // (self._batch_size * 4), 1)):
                indices = (user_at[part] - start, item_at[part])
                user_index, item_index = (torch.from_numpy(index).to(self._encoder.device) for index in indices)
                with torch.inference_mode(), self._encoder.autocast():
                    yield part, join_sides(self._encoder, prefixes.at(user_index), suffixes.at(item_index)).float()

    def _encode_items(self, items: Indices) -> tuple[EncodedSide, Indices]:
        """Return encodings that include the items, and the position of each item in them."""
        if self._fits:
            if self._all_items is None:
                every = np.arange(len(self._tokens.suffixes))
                self._all_items = self._encode(self._tokens.suffixes, self._inputs.items, every, users=False)
            return self._all_items, items
        distinct, positions = np.unique(items, return_inverse=True)
        return self._encode(self._tokens.suffixes, self._inputs.items, distinct, users=False), np.asarray(positions)

    def _encode(self, prompts: Sequence[Sequence[int]], table: Floats, index: Indices, *, users: bool) -> EncodedSide:
        """Encode users or items in batches of similar length; keys and values as float16."""
        lengths = np.array([len(prompts[i]) for i in index.tolist()])
        shape, device = (len(index), int(lengths.max()), self._encoder.width), self._encoder.device
        keys, values = (torch.zeros(shape, dtype=torch.float16, device=device) for _ in range(2))
        ends = torch.zeros((shape[0], shape[2]), device=device)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            ids, batch_lengths = pad_ids([prompts[i] for i in index[batch].tolist()], device)
            embeddings = float_tensor(table[index[batch]], device)
            sides = (embeddings, None) if users else (None, embeddings)
            with torch.inference_mode(), self._encoder.autocast():
                side = encode_side(self._encoder, ids, batch_lengths, *sides)
            positions, longest = torch.from_numpy(batch).to(device), ids.shape[1]
            keys[positions, :longest], values[positions, :longest] = side.keys.half(), side.values.half()
            ends[positions] = side.ends.float()
        present = torch.arange(shape[1], device=device) < torch.from_numpy(lengths).to(device)[:, None]
        return EncodedSide(keys, values, present, ends)
