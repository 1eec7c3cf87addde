"""Vectors of pairs by a model that reads user and item apart: users a group at a time, items once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hardneg.finetuning.inputs import PairInputs, padded, tensor
from hardneg.finetuning.late_interaction import EncodedSide, encode_side, join_sides
from hardneg.finetuning.model import HardNegativeEncoder
from hardneg.finetuning.template import Tokenised
from hardneg.types import Floats, Indices

GROUP = 16
"""Batches of users whose parts are held at once."""
MOST_KEPT = 4 * 2**30
"""Bytes of items' parts that are kept; those of a larger catalogue are computed again for every shard."""


class EncodingCache:
    """Makes the parts of users and items, and keeps the items' (as float16) where the catalogue fits."""

    def __init__(self, writer: HardNegativeEncoder, inputs: PairInputs, tokens: Tokenised, *, batch_size: int) -> None:
        self._writer, self._inputs, self._tokens, self._size = writer, inputs, tokens, batch_size
        longest = int(tokens.suffix_lengths.max(initial=1))
        self._fits = len(tokens.suffixes) * longest * writer.width * 4 <= MOST_KEPT
        self._all: EncodedSide | None = None

    def vectors(self, rows: Indices) -> Iterator[tuple[Indices, Tensor]]:
        """Places in `rows`, and the vectors of these pairs."""
        users, items = self._inputs.pairs.users[rows], self._inputs.pairs.items[rows]
        suffixes, item_at = self._items(items)
        known, user_at = np.unique(users, return_inverse=True)
        for start in range(0, len(known), self._size * GROUP):
            group = known[start : start + self._size * GROUP]
            prefixes = self._made(self._tokens.prefixes, self._inputs.users, group, users=True)
            places = np.flatnonzero((user_at >= start) & (user_at < start + len(group)))
            for some in np.array_split(places, max(len(places) // (self._size * 4), 1)):
                index = (torch.from_numpy(at).to(self._writer.device) for at in (user_at[some] - start, item_at[some]))
                with torch.inference_mode(), self._writer.numbers():
                    yield some, join_sides(self._writer, prefixes.at(next(index)), suffixes.at(next(index))).float()

    def _items(self, items: Indices) -> tuple[EncodedSide, Indices]:
        """Parts of items, and where those of the pairs are among them."""
        if self._fits:
            if self._all is None:
                everything = np.arange(len(self._tokens.suffixes))
                self._all = self._made(self._tokens.suffixes, self._inputs.items, everything, users=False)
            return self._all, items
        known, at = np.unique(items, return_inverse=True)
        return self._made(self._tokens.suffixes, self._inputs.items, known, users=False), np.asarray(at)

    def _made(self, prompts: Sequence[Sequence[int]], table: Floats, which: Indices, *, users: bool) -> EncodedSide:
        """Parts of users or items, by the length of their texts a batch at a time; keys and values as float16."""
        lengths = np.array([len(prompts[index]) for index in which.tolist()])
        shape, device = (len(which), int(lengths.max()), self._writer.width), self._writer.device
        keys, values = (torch.zeros(shape, dtype=torch.float16, device=device) for _ in range(2))
        ends = torch.zeros((shape[0], shape[2]), device=device)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), self._size):
            places = order[start : start + self._size]
            ids, long = padded([prompts[index] for index in which[places].tolist()], device)
            shown = tensor(table[which[places]], device)
            with torch.inference_mode(), self._writer.numbers():
                found = encode_side(self._writer, ids, long, shown if users else None, None if users else shown)
            where, upto = torch.from_numpy(places).to(device), ids.shape[1]
            keys[where, :upto], values[where, :upto] = found.keys.half(), found.values.half()
            ends[where] = found.ends.float()
        present = torch.arange(shape[1], device=device) < torch.from_numpy(lengths).to(device)[:, None]
        return EncodedSide(keys, values, present, ends)
