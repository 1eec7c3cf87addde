"""Answers constrained to a JSON schema within a token limit, or to a closed list; each is a `token_choice.Constraint`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from hardneg.errors import ConfigError
from hardneg.llm.local.token_choice import Constraint
from hardneg.llm.protocol import LlmError
from hardneg.types import Flags, Indices

Transitions = dict[int, dict[int, int]]
"""State -> byte -> next state."""

MAX_SIZE = 10_000_000
"""Maximum length bounds of strings times tokens of an automaton: about 3 s to build and 130 MB. Above, length bounds are
left to validation, and the answer's token limit ends strings."""
MIN_DRAFT = 3
"""Minimum characters of a text with one way on that is drafted."""
_LENGTH_BOUND = re.compile(r"\{(\d+),(\d+)\}")


class Grammars:
    """Automata over one tokenizer's tokens, one per schema, built on demand and cached."""

    def __init__(self, tokenizer: Any, end: int) -> None:
        self._tokens = token_bytes(tokenizer)
        self._end, self._n_tokens = end, max(map(max, self._tokens.values())) + 1
        self._encode = tokenizer.backend_tokenizer.encode
        self.automaton = lru_cache(maxsize=16)(self._build)

    def constraint(self, schema: str, limit: int) -> SchemaConstraint:
        """Return a constraint for an answer of up to `limit` tokens. Raises LlmError for an unsupported schema."""
        return SchemaConstraint(self.automaton(schema), limit)

    def _build(self, schema: str) -> Automaton:
        core = _outlines_core()
        try:
            exact = core.json_schema.build_regex_from_schema(schema)
            loose = _LENGTH_BOUND.sub(r"{\1,}", exact)
            size = sum(int(bound[1]) for bound in _LENGTH_BOUND.findall(exact)) * self._n_tokens
            index = core.Index(exact if size <= MAX_SIZE else loose, core.Vocabulary(self._end, self._tokens))
            byte_tokens = {text[0]: ids[0] for text, ids in self._tokens.items() if len(text) == 1}
            bytewise = core.Index(loose, core.Vocabulary(256, {bytes([byte]): [byte] for byte in byte_tokens}))
        except ValueError as error:
            raise LlmError(f"no automaton for the schema ({str(error)[:120]}); choose simpler types") from None
        transitions = {
            state: {byte: after for byte, after in steps.items() if byte < 256}  # 256 is the end token of final states
            for state, steps in bytewise.get_transitions().items()
        }
        texts = [b""] * self._n_tokens
        for text, ids in self._tokens.items():
            for token in ids:
                texts[token] = text
        start, finals = bytewise.get_initial_state(), frozenset(bytewise.get_final_states())
        return Automaton(index, start, transitions, finals, texts, byte_tokens, self._end, self._encode)


@dataclass(frozen=True)
class Automaton:
    """The parts that constraints of one schema share.

    index: outlines-core's automaton over tokens. start, transitions, finals: the same language over bytes, without
    length bounds; its distances to the end tell how many bytes an answer still needs. texts: the bytes of each token.
    byte_tokens: the token of a byte. end: the end token. encode: the tokenizer's encoding of a text.
    """

    index: Any
    start: int
    transitions: Transitions
    finals: frozenset[int]
    texts: list[bytes]
    byte_tokens: Mapping[int, int]
    end: int
    encode: Callable[..., Any]

    @cached_property
    def drafts(self) -> dict[int, tuple[int, ...]]:
        """For states with one way on, such as the key of a field, the tokens of that way as the tokenizer splits it."""
        return {
            state: tuple(self.encode(text, add_special_tokens=False).ids)
            for state in self.transitions
            if len(text := self._only_way(state)) >= MIN_DRAFT
        }

    def _only_way(self, state: int) -> str:
        """Return the text up to the next state with several ways on."""
        text = bytearray()
        while state not in self.finals and len(steps := self.transitions.get(state, {})) == 1:
            [(byte, state)] = steps.items()
            text.append(byte)
        return text.decode("utf-8", "ignore")

    @cached_property
    def distances(self) -> dict[int, int]:
        """Bytes from each state to the nearest final state."""
        return distances(self.transitions, self.finals)

    @cached_property
    def max_distance(self) -> int:
        """The largest of the distances."""
        return max(self.distances.values())

    def follow(self, state: int, text: bytes) -> int | None:
        """Return the state after these bytes, None if they leave the language."""
        after: int | None = state
        for byte in text:
            after = self.transitions.get(after, {}).get(byte) if after is not None else None
        return after


class SchemaConstraint(Constraint):
    """A path of one answer through an automaton, as a `token_choice.Constraint`.

    If the limit holds the schema's shortest answer byte by byte, every answer is complete within the limit. `closed`
    is True if that required tokens other than the model's choice.
    """

    def __init__(self, automaton: Automaton, limit: int) -> None:
        self._automaton, self._guide = automaton, _outlines_core().Guide(automaton.index)
        self._state = automaton.start
        self._can_finish = automaton.distances[self._state] + 1 <= limit
        self._mask = np.zeros(0, np.int32)
        self.closed = False

    def allow(self, tokens: Flags, _: int, /) -> None:
        """Allow the automaton's next tokens, and the end token where an answer may end."""
        if len(self._mask) * 32 < len(tokens):
            self._mask = np.zeros(-(-len(tokens) // 32), np.int32)
        self._guide.write_mask_into(self._mask.ctypes.data, self._mask.size, 4)
        tokens[:] = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: len(tokens)]

    def fits(self, token: int, left: int, /) -> bool:
        """Return whether the answer can still be finished after this token."""
        automaton = self._automaton
        if not self._can_finish or left > automaton.max_distance + 2:
            return True
        if token == automaton.end:
            fits = self._state in automaton.finals
        else:
            after = automaton.follow(self._state, automaton.texts[token])
            fits = after is not None and automaton.distances.get(after, left) + 1 <= left - 1
        self.closed = self.closed or not fits
        return fits

    def closing(self) -> int:
        """Return the token of a byte nearer to the end."""
        automaton = self._automaton
        if self._state in automaton.finals:
            return automaton.end
        steps = automaton.transitions[self._state]
        return automaton.byte_tokens[min(steps, key=lambda byte: (automaton.distances[steps[byte]], byte))]

    def draft(self) -> Sequence[int]:
        """Return the tokens of a text that must follow; the model may split it otherwise."""
        return self._automaton.drafts.get(self._state, ())

    def take(self, token: int, /) -> None:
        """Follow a chosen token."""
        self._guide.advance(token, return_tokens=False)
        after = self._automaton.follow(self._state, self._automaton.texts[token])
        if after is None:
            raise LlmError("the token and byte automata of a schema disagree; report this with the schema")
        self._state = after


def distances(transitions: Transitions, finals: frozenset[int]) -> dict[int, int]:
    """Return the bytes from each state to the nearest final state, by breadth-first search backwards."""
    before: dict[int, set[int]] = {}
    for state, steps in transitions.items():
        for after in steps.values():
            before.setdefault(after, set()).add(state)
    known, edge, depth = dict.fromkeys(finals, 0), set(finals), 0
    while edge:
        depth += 1
        edge = {state for after in edge for state in before.get(after, ()) if state not in known}
        known |= dict.fromkeys(edge, depth)
    return known


def token_bytes(tokenizer: Any) -> dict[bytes, list[int]]:
    """Return the token ids of each byte string, added tokens left out.

    Supports byte-level BPE and SentencePiece with a mark for spaces. Raises LlmError for other tokenizers.
    """
    decoder = tokenizer.backend_tokenizer.decoder
    kind = decoder.__getstate__().decode() if decoder is not None else ""
    if "ByteLevel" in kind:
        to_bytes = _byte_level_bytes
    elif "ByteFallback" in kind or "Metaspace" in kind:
        to_bytes = _piece_bytes
    else:
        raise LlmError("the tokenizer is neither byte-level nor SentencePiece, so no schema can be enforced with it")
    added = set(tokenizer.get_added_vocab())
    ids: dict[bytes, list[int]] = {}
    for token, token_id in tokenizer.get_vocab().items():
        if token not in added and (text := to_bytes(token)):
            ids.setdefault(text, []).append(token_id)
    return ids


def _piece_bytes(token: str) -> bytes:
    if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode("utf-8", "ignore")


def _byte_level_bytes(token: str) -> bytes:
    alphabet = _byte_level_alphabet()
    return bytes(alphabet[char] for char in token) if all(char in alphabet for char in token) else b""


@lru_cache(maxsize=1)
def _byte_level_alphabet() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {char: byte for byte, char in bytes_to_unicode().items()}  # type: ignore[no-untyped-call]


def _outlines_core() -> Any:
    try:
        import outlines_core
    except ImportError:
        raise ConfigError("schemas on local models need outlines-core; run pip install 'hardneg[local]'") from None
    return outlines_core


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
