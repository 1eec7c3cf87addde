"""Answers constrained to a JSON schema within a token limit; a `token_choice.Constraint`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from hardneg.errors import ConfigError
from hardneg.llm.local.token_choice import Constraint
from hardneg.llm.protocol import LlmError
from hardneg.types import Flags

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
