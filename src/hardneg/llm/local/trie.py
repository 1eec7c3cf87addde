"""A closed list of answers as a tree of tokens, in flat arrays, and walks through it that always end in an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardneg.errors import ConfigError
from hardneg.types import Indices


@dataclass(frozen=True)
class Trie:
    """Answers sorted by their tokens; a node is a beginning that some share. Node 0 is the empty one.

    order: (answers,) the answer at each place of the sorted list; places: its inverse. lengths: (answers,) tokens of the
    answer at each place. starts: (nodes + 1,) where a node's children begin in `tokens`, which names the token to each
    child, ascending; the child of tokens[i] is node i + 1. first, last: (nodes,) the places below a node are
    first <= place < last. ends: (nodes,) how many of them end there; they are the first ones.
    """

    order: Indices
    places: Indices
    lengths: Indices
    starts: Indices
    tokens: Indices
    first: Indices
    last: Indices
    ends: Indices

    @staticmethod
    def of(answers: Sequence[Sequence[int]]) -> Trie:
        """Build from each answer's token ids. Raises ConfigError where one has none."""
        lengths = np.array([len(answer) for answer in answers], np.int64)
        if not len(answers) or lengths.min() == 0:
            found = "no answer" if not len(answers) else f"answer {int(lengths.argmin())} without any token"
            raise ConfigError(f"found {found} in the closed list, expected answers with words; drop blank ones")
        order = np.array(sorted(range(len(answers)), key=lambda place: tuple(answers[place])), np.int64)
        lengths = lengths[order]
        flat = np.array([token for place in order for token in answers[place]], np.int64)
        return _grown(order, lengths, flat)


def _grown(order: Indices, lengths: Indices, flat: Indices) -> Trie:
    """Level by level: at each depth, neighbours of one parent and one token share a child."""
    offsets = np.cumsum(lengths) - lengths
    parent = np.zeros(len(order), np.int64)
    tokens, owners = [], []
    first, last, ends = [np.zeros(1, np.int64)], [np.array([len(order)])], [np.zeros(1, np.int64)]
    n_nodes = 1
    for depth in range(int(lengths.max())):
        rows = np.flatnonzero(lengths > depth)
        token, owner = flat[offsets[rows] + depth], parent[rows]
        begins = np.r_[True, (token[1:] != token[:-1]) | (owner[1:] != owner[:-1])]
        starts, child = np.flatnonzero(begins), np.cumsum(begins) - 1
        stops = np.r_[starts[1:], len(rows)] - 1
        tokens.append(token[starts])
        owners.append(owner[starts])
        first.append(rows[starts])
        last.append(rows[stops] + 1)
        ends.append(np.bincount(child[lengths[rows] == depth + 1], minlength=len(starts)))
        parent[rows] = child + n_nodes
        n_nodes += len(starts)
    counts = np.bincount(np.concatenate(owners), minlength=n_nodes)
    return Trie(
        order=order,
        places=np.argsort(order),
        lengths=lengths,
        starts=np.r_[0, np.cumsum(counts)],
        tokens=np.concatenate(tokens),
        first=np.concatenate(first),
        last=np.concatenate(last),
        ends=np.concatenate(ends),
    )


class Walk:
    """A way from the root to one allowed answer.

    without: answers that are not allowed. longest: answers of more tokens are not allowed either. A walk over nothing
    is `empty`.
    """

    def __init__(self, trie: Trie, excluded: Indices, longest: int) -> None:
        self._trie, self._node = trie, 0
        too_long = np.flatnonzero(trie.lengths > longest)
        self._barred = np.union1d(trie.places[excluded], too_long)

    @property
    def empty(self) -> bool:
        """No answer is allowed."""
        return len(self._barred) == len(self._trie.order)

    @property
    def may_end(self) -> bool:
        """An allowed answer ends here."""
        return self._ending() >= 0

    @property
    def answer(self) -> int:
        """The allowed answer that ends here; of several with the same tokens the first; -1 where none does."""
        place = self._ending()
        return int(self._trie.order[place]) if place >= 0 else -1

    def next_tokens(self) -> Indices:
        """Tokens, ascending, that lead on towards an allowed answer."""
        trie, children = self._trie, self._children()
        first, last = trie.first[children + 1], trie.last[children + 1]
        barred = np.searchsorted(self._barred, last) - np.searchsorted(self._barred, first)
        return trie.tokens[children[last - first > barred]]

    def take(self, token: int) -> None:
        """Go on by one of the `next_tokens`."""
        children = self._children()
        place = int(np.searchsorted(self._trie.tokens[children], token))
        self._node = int(children[place]) + 1

    def _children(self) -> Indices:
        return np.arange(self._trie.starts[self._node], self._trie.starts[self._node + 1])

    def _ending(self) -> int:
        """Place of the first allowed answer that ends at the node, -1 if none."""
        first = int(self._trie.first[self._node])
        here = np.arange(first, first + int(self._trie.ends[self._node]))
        allowed = here[~np.isin(here, self._barred)]
        return int(allowed[0]) if len(allowed) else -1
