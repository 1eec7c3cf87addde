"""Answers from a closed list; a `token_choice.Constraint`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hardneg.errors import ConfigError
from hardneg.llm.local.token_choice import Constraint
from hardneg.types import Flags, Indices


@dataclass(frozen=True)
class Trie:
    """Token sequences as a tree in flat arrays; a node is a shared prefix and node 0 the empty one.

    order: (answers,) answer index at each rank of the sorted list; ranks: its inverse. lengths: (answers,) tokens of the
    answer at each rank. starts: (nodes + 1,) where a node's children begin in `tokens`, which holds the token to each
    child, ascending; the child of tokens[i] is node i + 1. first, last: (nodes,) the ranks below a node are
    first <= rank < last. ends: (nodes,) how many of them end there; these are the first ones.
    """

    order: Indices
    ranks: Indices
    lengths: Indices
    starts: Indices
    tokens: Indices
    first: Indices
    last: Indices
    ends: Indices

    @staticmethod
    def of(answers: Sequence[Sequence[int]]) -> Trie:
        """Build the tree from each answer's token ids. Raises ConfigError for an empty list or answer."""
        lengths = np.array([len(answer) for answer in answers], np.int64)
        if not len(answers) or lengths.min() == 0:
            problem = "no answer" if not len(answers) else f"answer {int(lengths.argmin())} without any token"
            raise ConfigError(f"found {problem} in the closed list, expected answers with words; drop blank ones")
        order = np.array(sorted(range(len(answers)), key=lambda index: tuple(answers[index])), np.int64)
        flat = np.array([token for index in order for token in answers[index]], np.int64)
        lengths = lengths[order]
        offsets = np.cumsum(lengths) - lengths
        parent = np.zeros(len(order), np.int64)
        tokens, parents = [], []
        first, last, ends = [np.zeros(1, np.int64)], [np.array([len(order)])], [np.zeros(1, np.int64)]
        n_nodes = 1
        # level by level: at each depth, neighbours with one parent and one token share a child
        for depth in range(int(lengths.max())):
            ranks = np.flatnonzero(lengths > depth)
            token, above = flat[offsets[ranks] + depth], parent[ranks]
            begins = np.r_[True, (token[1:] != token[:-1]) | (above[1:] != above[:-1])]
            starts, child = np.flatnonzero(begins), np.cumsum(begins) - 1
            stops = np.r_[starts[1:], len(ranks)] - 1
            tokens.append(token[starts])
            parents.append(above[starts])
            first.append(ranks[starts])
            last.append(ranks[stops] + 1)
            ends.append(np.bincount(child[lengths[ranks] == depth + 1], minlength=len(starts)))
            parent[ranks] = child + n_nodes
            n_nodes += len(starts)
        n_children = np.bincount(np.concatenate(parents), minlength=n_nodes)
        starts = np.r_[0, np.cumsum(n_children)]
        flat_arrays = [np.concatenate(levels) for levels in (tokens, first, last, ends)]
        return Trie(order, np.argsort(order), lengths, starts, *flat_arrays)


@dataclass(frozen=True)
class ClosedList:
    """Distinct answers, the tree of their tokens, and the index of each answer."""

    answers: tuple[str, ...]
    trie: Trie
    indices: dict[str, int]

    @staticmethod
    def of(answers: Sequence[str], tokenize: Callable[[str], Sequence[int]]) -> ClosedList:
        """Build the list; repeated answers count once. tokenize: token ids of a plain text."""
        distinct = tuple(dict.fromkeys(answers))
        trie = Trie.of([tokenize(answer) for answer in distinct])
        return ClosedList(distinct, trie, {answer: index for index, answer in enumerate(distinct)})

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the list."""
        return hashlib.sha256(json.dumps(self.answers).encode()).hexdigest()

    def constraint(
        self, excluded: Sequence[str], limit: int, end: int, *, count: int = 1, separator: Sequence[int] = ()
    ) -> ClosedListConstraint:
        """Return a constraint to answers that are not in `excluded` and fit `limit` tokens, the end token included.

        count: number of different answers, with the tokens of `separator` between two; each may have an equal share of
        the limit.
        """
        indices = [self.indices[answer] for answer in excluded if answer in self.indices]
        longest = (limit - 1 - (count - 1) * len(separator)) // count
        barred = np.array(sorted(indices), np.int64)
        return ClosedListConstraint(self.trie, barred, longest, end, count=count, separator=separator)


class ClosedListConstraint(Constraint):
    """Walks from the root of a tree to allowed answers, all different, as a `token_choice.Constraint`.

    excluded: indices of answers that are not allowed. max_tokens: longer answers are not allowed either. end: end token.
    count: number of answers; fewer are written where no other is allowed. separator: tokens between two answers; the
    first of them may not continue an answer that ends there.
    """

    def __init__(
        self,
        trie: Trie,
        excluded: Indices,
        max_tokens: int,
        end: int,
        *,
        count: int = 1,
        separator: Sequence[int] = (),
    ) -> None:
        self._trie, self._node, self._end = trie, 0, end
        self._barred = np.union1d(trie.ranks[excluded], np.flatnonzero(trie.lengths > max_tokens))
        self._left, self._separator = min(count, len(trie.order) - len(self._barred)), tuple(separator)
        self._complete: list[int] = []
        self._within = 0  # tokens of the separator that were taken

    @property
    def empty(self) -> bool:
        """True if no answer is allowed."""
        return len(self._barred) == len(self._trie.order)

    @property
    def answer(self) -> int:
        """Index of the allowed answer that ends here, the first of several with the same tokens; -1 if none does."""
        first = int(self._trie.first[self._node])
        ending = np.arange(first, first + int(self._trie.ends[self._node]))
        allowed = ending[~np.isin(ending, self._barred)]
        return int(self._trie.order[allowed[0]]) if len(allowed) else -1

    @property
    def answers(self) -> tuple[int, ...]:
        """Indices of the complete answers, in order; that of the last may be -1, if it is cut."""
        return (*self._complete, self.answer)

    def next_tokens(self) -> Indices:
        """Return the tokens, ascending, that lead towards an allowed answer."""
        trie, children = self._trie, self._children()
        first, last = trie.first[children + 1], trie.last[children + 1]
        n_barred = np.searchsorted(self._barred, last) - np.searchsorted(self._barred, first)
        return trie.tokens[children[last - first > n_barred]]

    def allow(self, tokens: Flags, _: int, /) -> None:
        """Allow the next tokens of allowed answers, and where one ends the separator, or after the last the end token."""
        if self._within:
            tokens[self._separator[self._within]] = True
            return
        tokens[self.next_tokens()] = True
        tokens[self._end] = False
        if self.answer >= 0:
            tokens[self._end if self._left == 1 else self._separator[0]] = True

    def fits(self, _token: int, _left: int, /) -> bool:
        """Return True: answers above the limit are never allowed."""
        return True

    def closing(self) -> int:
        """Return the end token; not called, since every token fits."""
        return self._end

    def take(self, token: int, /) -> None:
        """Follow an allowed token."""
        if self._within or (self._left > 1 and self.answer >= 0 and token == self._separator[0]):
            self._within = (self._within + 1) % len(self._separator)
            if not self._within:
                self._begin_another()
            return
        children = self._children()
        self._node = int(children[np.searchsorted(self._trie.tokens[children], token)]) + 1

    def _begin_another(self) -> None:
        """Bar the answer that ended, and return to the root."""
        self._complete.append(self.answer)
        self._barred = np.union1d(self._barred, self._trie.ranks[self._complete[-1:]])
        self._node, self._left = 0, self._left - 1

    def _children(self) -> Indices:
        return np.arange(self._trie.starts[self._node], self._trie.starts[self._node + 1])
