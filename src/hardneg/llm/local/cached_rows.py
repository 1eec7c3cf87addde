"""Keys and values of several token sequences, to which one pass of a causal model appends tokens of all of them.

The tokens of a pass are packed into one sequence without padding. An attention function of our own, registered with
transformers under the name ATTENTION, writes their keys and values and lets each token see its own row only. A prefix
that all rows share is stored, and read, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION = "hardneg_cached_rows"
BLOCK_SCORES = 2**19
"""Attention scores computed at a time: 2 MiB of float32, so that a block stays in the cache of a core."""
PASS_TOKENS = 1024
"""Maximum number of tokens of a pass, unless there are more rows; bounds the memory of attention scores."""
PASSED_ON = frozenset({"dropout", "is_causal", "position_ids", "cache_position", "use_cache", "logits_to_keep"})
"""Arguments of attention functions that change nothing here; a model that gives others is not supported."""
Layers = dict[int, tuple["Tensor", "Tensor"]]
"""Keys and values by layer."""


@dataclass(frozen=True)
class Prefix:
    """Tokens that all rows begin with, and their keys and values by layer, each (heads, tokens, size)."""

    ids: tuple[int, ...] = ()
    layers: Layers = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """Memory of the keys and values."""
        return sum(part.nbytes for pair in self.layers.values() for part in pair)


@dataclass(frozen=True)
class _Pass:
    """Places of the tokens of a pass: rows first <= row < last; row and column of each token.

    queries: the position of each token among its row's tokens of the pass. n_queries: most tokens of a row.
    mask: (rows, 1, 1, queries, columns), 0 where a token sees a column and -inf elsewhere.
    """

    cached: CachedRows
    first: int
    last: int
    rows: Tensor
    columns: Tensor
    queries: Tensor
    n_queries: int
    mask: Tensor


_current: ContextVar[_Pass | None] = ContextVar("pass of cached rows", default=None)


class UnsupportedAttention(Exception):  # noqa: N818 - never leaves this package
    """The model gives its attention function something that is not known here."""


class CachedRows:
    """Token sequences that begin with the same prefix; `append` extends them by any number of tokens each.

    lengths: tokens of each row after the prefix. Rows can be added, removed and cut (`lengths` set to less).
    """

    def __init__(self, model: Any, prefix: Prefix | None = None) -> None:
        self._model, self.prefix = model, prefix or Prefix()
        self.lengths: list[int] = []
        self._layers: Layers = {}
        self._reserved = (0, 0)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    def add(self, n_rows: int, columns: int, source: CachedRows | None = None, origins: Sequence[int] = ()) -> None:
        """Add rows that are empty, or copies of rows `origins` of a source with the same prefix.

        columns: tokens of each row to reserve memory for.
        """
        import torch

        before = len(self)
        self._reserve(before + n_rows, columns)
        self.lengths += [source.lengths[row] for row in origins] if source else [0] * n_rows
        width = max(self.lengths[before:], default=0)
        if source and width:
            for layer, parts in source._layers.items():
                rows = torch.tensor(list(origins), device=parts[0].device)
                for own, part in zip(self._layer(layer, parts[1]), parts, strict=True):
                    own[before : len(self), :, :width] = part[rows, :, :width]

    def remove(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last, length = len(self) - 1, self.lengths[-1]
        if row != last:
            for parts in self._layers.values():
                for part in parts:
                    part[row, :, :length] = part[last, :, :length]
        self.lengths[row] = length
        self.lengths.pop()

    def append(self, tokens: Sequence[Sequence[int]], n_scored: Sequence[int], first: int = 0) -> Tensor:
        """Append tokens to the rows from `first` on and return scores (sum of n_scored, vocabulary), float32.

        n_scored: for each row the number of its last tokens whose next-token scores are returned, in order.
        """
        import torch

        scores: list[Tensor] = []
        for start, stop, parts, scored in _passes(tokens, n_scored):
            output = self._pass(first + start, first + stop, parts, scored)
            if output is not None:
                scores.append(output)
        return torch.cat(scores) if len(scores) > 1 else scores[0] if scores else torch.empty(0)

    def _pass(self, first: int, last: int, tokens: Sequence[Sequence[int]], scored: list[int]) -> Tensor | None:
        import torch

        device, counts = self._model.device, [len(part) for part in tokens]
        starts = self.lengths[first:last]
        width = max(start + count for start, count in zip(starts, counts, strict=True))
        self._reserve(len(self), width)
        owner = [row for row, count in enumerate(counts) for _ in range(count)]
        query = [position for count in counts for position in range(count)]
        rows, queries = torch.tensor([owner, query], device=device)
        columns = torch.tensor(starts, device=device)[rows] + queries
        n_queries = max(counts)
        seen_to = torch.tensor(starts, device=device)[:, None] + torch.arange(n_queries, device=device)
        hidden = torch.arange(width, device=device) > seen_to[:, :, None]
        mask = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, -torch.inf)[:, None, None]
        ids = torch.tensor([[token for part in tokens for token in part]], device=device)
        positions = (columns + len(self.prefix.ids))[None]
        keep = torch.tensor(scored or [len(owner) - 1], device=device)
        with (
            torch.no_grad(),
            _attend_by(self._model, _Pass(self, first, last, rows, columns, queries, n_queries, mask)),
        ):
            output = self._model(input_ids=ids, position_ids=positions, logits_to_keep=keep, use_cache=False)
        self.lengths[first:last] = [start + count for start, count in zip(starts, counts, strict=True)]
        return output.logits[0].float() if scored else None

    def attend(self, part: _Pass, index: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Write the keys and values of a pass in layer `index`; return the attention's output (1, tokens, heads, size)."""
        import torch

        n_rows, n_heads = part.last - part.first, key.shape[1]
        keys, values = (store[part.first : part.last] for store in self._layer(index, key[0].transpose(0, 1)))
        keys[part.rows, :, part.columns] = key[0].transpose(0, 1).float()
        values[part.rows, :, part.columns] = value[0].transpose(0, 1)
        width, n_queries, size = part.mask.shape[-1], part.n_queries, query.shape[-1]
        keys, values = keys[:, :, :width], values[:, :, :width]
        padded = keys.new_zeros(n_rows, n_queries, query.shape[1], size)
        padded[part.rows, part.queries] = query[0].transpose(0, 1).float() * scaling
        # (rows, key heads, query heads of each, queries, size): all queries of a key head are one matrix
        queries = padded.view(n_rows, n_queries, n_heads, -1, size).permute(0, 2, 3, 1, 4)
        step = max(1, BLOCK_SCORES // max(1, query.shape[1] * n_queries * (len(self.prefix.ids) + width)))
        blocks = [slice(start, start + step) for start in range(0, n_rows, step)]
        shared = self.prefix.layers[index] if self.prefix.ids else None
        outputs = [_weighted(queries[b], keys[b], values[b], part.mask[b], shared) for b in blocks]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return output.permute(0, 3, 1, 2, 4).flatten(2, 3)[part.rows, part.queries][None]

    def as_prefix(self, ids: Sequence[int]) -> Prefix:
        """Return the prefix followed by the only row's tokens `ids` as a prefix."""
        import torch

        length, layers = self.lengths[0], {}
        for index, parts in self._layers.items():
            own = [part[0, :, :length] for part in parts]
            if self.prefix.ids:
                own = [torch.cat(pair, 1) for pair in zip(self.prefix.layers[index], own, strict=True)]
            layers[index] = (own[0].contiguous(), own[1].contiguous())
        return Prefix((*self.prefix.ids, *ids), layers)

    def _layer(self, index: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of a layer, each (rows, heads, columns, size).

        like: (any, heads, ..., size), of the model's precision. Keys are kept in 32 bits: attention scores of 16 bits
        would lose too many digits.
        """
        import torch

        if index not in self._layers:
            n_rows, n_columns = self._reserved
            shape = (n_rows, like.shape[1], n_columns, like.shape[-1])
            self._layers[index] = (torch.zeros(shape, device=like.device), like.new_zeros(shape))
        return self._layers[index]

    def _reserve(self, n_rows: int, n_columns: int) -> None:
        """Make room for rows and columns."""
        before = self._reserved
        self._reserved = max(before[0], n_rows), max(before[1], n_columns)
        if self._reserved == before:
            return
        for index, parts in self._layers.items():
            larger = [
                part.new_zeros(self._reserved[0], part.shape[1], self._reserved[1], part.shape[3]) for part in parts
            ]
            for new, old in zip(larger, parts, strict=True):
                new[: before[0], :, : before[1]] = old
            self._layers[index] = (larger[0], larger[1])


def _weighted(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, shared: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Return the mean of values by softmax weights, of the shape of the queries.

    queries: (rows, key heads, query heads of each, queries, size). keys, values: (rows, key heads, width, size). mask:
    (rows, 1, 1, queries, width). shared: keys and values of the prefix, (key heads, prefix tokens, size).
    """
    import torch

    (n_rows, n_heads), size, width = queries.shape[:2], queries.shape[-1], keys.shape[2]
    matrix = queries.reshape(n_rows, n_heads, -1, size)
    scores = (matrix @ keys.transpose(2, 3)).view(*queries.shape[:4], width).add_(mask)
    if shared is not None:
        by_head = matrix.transpose(0, 1).reshape(n_heads, -1, size)
        before = (by_head @ shared[0].transpose(1, 2)).view(n_heads, n_rows, *queries.shape[2:4], -1)
        scores = torch.cat([before.transpose(0, 1), scores], -1)
    weights = scores.softmax(-1).to(values.dtype)
    output = weights[..., -width:].reshape(n_rows, n_heads, -1, width) @ values
    if shared is not None:
        before = weights[..., :-width].transpose(0, 1).reshape(n_heads, -1, weights.shape[-1] - width)
        output = output + (before @ shared[1]).view(n_heads, n_rows, -1, size).transpose(0, 1)
    return output.view(*queries.shape[:4], -1)


def _passes(
    tokens: Sequence[Sequence[int]], n_scored: Sequence[int]
) -> Iterator[tuple[int, int, list[Sequence[int]], list[int]]]:
    """Yield passes: first and last row, the tokens of each, and the scored positions among all of them.

    A row with more tokens than PASS_TOKENS takes several passes.
    """
    start = 0
    while start < len(tokens):
        stop, total = start, 0
        while stop < len(tokens) and (stop == start or total + len(tokens[stop]) <= max(PASS_TOKENS, len(tokens))):
            total += len(tokens[stop])
            stop += 1
        if total > max(PASS_TOKENS, len(tokens)):  # one long row
            row = tokens[start]
            for offset in range(0, total, PASS_TOKENS):
                part = row[offset : offset + PASS_TOKENS]
                scored = [k for k in range(len(part)) if offset + k >= total - n_scored[start]]
                yield start, stop, [part], scored
        elif total:
            ends = accumulate(map(len, tokens[start:stop]))
            scored = [k for end, count in zip(ends, n_scored[start:stop], strict=True) for k in range(end - count, end)]
            yield start, stop, list(tokens[start:stop]), scored
        start = stop


@contextmanager
def _attend_by(model: Any, part: _Pass) -> Iterator[None]:
    """Let the model's attention work on cached rows while the context lasts."""
    register_attention()
    config, token = model.config, _current.set(part)
    before = config._attn_implementation  # transformers has no public name for it
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
        _current.reset(token)


def register_attention() -> None:
    """Register the attention function with transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attention)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    part = _current.get()
    unknown = sorted(
        name for name, value in options.items() if name not in PASSED_ON and value is not None and value is not False
    )
    if part is None or attention_mask is not None or unknown:
        raise UnsupportedAttention(f"attention with {', '.join(unknown) or 'a mask'}")
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    return part.cached.attend(part, module.layer_idx, query, key, value, factor), None
