"""Answers held to a JSON schema: an automaton over tokens (outlines-core), with room kept to finish in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from hardneg.errors import ConfigError
from hardneg.llm.protocol import LlmError
from hardneg.types import Flags

Steps = dict[int, dict[int, int]]
"""State -> byte -> next state."""

AFFORDABLE = 10_000_000
"""Bounds of strings times tokens that an automaton may have: about 3 s to build and 130 MB. Above, bounds are left to
validation, and the answer's token limit ends strings."""
_BOUND = re.compile(r"\{(\d+),(\d+)\}")


class Grammars:
    """Automata of one tokenizer's tokens, one for each schema that was asked for, built once."""

    def __init__(self, tokenizer: Any, end: int) -> None:
        self._tokens = token_bytes(tokenizer)
        self._end, self._n = end, max(map(max, self._tokens.values())) + 1
        self.automaton = lru_cache(maxsize=16)(self._automaton)

    def held_to(self, schema: str, limit: int) -> Held:
        """A constraint for one answer of at most `limit` tokens. Raises LlmError for a schema that cannot be held to."""
        return Held(self.automaton(schema), limit)

    def _automaton(self, schema: str) -> Automaton:
        core = _core()
        try:
            exact = core.json_schema.build_regex_from_schema(schema)
            loose = _BOUND.sub(r"{\1,}", exact)
            affordable = sum(int(bound[1]) for bound in _BOUND.findall(exact)) * self._n <= AFFORDABLE
            vocabulary = core.Vocabulary(self._end, self._tokens)
            index = core.Index(exact if affordable else loose, vocabulary)
            singles = {char: ids for char, ids in self._tokens.items() if len(char) == 1}
            small = core.Index(loose, core.Vocabulary(256, {char: [char[0]] for char in singles}))
        except ValueError as error:
            raise LlmError(
                f"no automaton can be made of the schema ({str(error)[:120]}); choose simpler types"
            ) from None
        steps, finals = _bytes_only(small.get_transitions()), frozenset(small.get_final_states())
        texts: list[bytes] = [b""] * self._n
        for text, ids in self._tokens.items():
            for token in ids:
                texts[token] = text
        to_id = {char[0]: ids[0] for char, ids in singles.items()}
        return Automaton(index, small.get_initial_state(), steps, finals, texts, to_id, self._end)


class Automaton:
    """What constraints of one schema share.

    index: outlines-core's, over tokens. steps, finals: the same language over bytes, bounds of strings left out, whose
    distances to the end tell how much room an answer needs. texts: the bytes of each token. to_id: the token of a byte.
    """

    def __init__(
        self,
        index: Any,
        start: int,
        steps: Steps,
        finals: frozenset[int],
        texts: list[bytes],
        to_id: Mapping[int, int],
        end: int,
    ) -> None:
        self.index, self.start, self.steps, self.finals = index, start, steps, finals
        self.texts, self.to_id, self.end = texts, to_id, end
        self.distances = distances(steps, finals)
        self.furthest = max(self.distances.values())

    def after(self, state: int, text: bytes) -> int | None:
        """The state that bytes lead to, None where they lead out of the language."""
        found: int | None = state
        for char in text:
            found = self.steps.get(found, {}).get(char) if found is not None else None
        return found


class Held:
    """One answer on its way through an automaton.

    If the limit holds the shortest answer of the schema byte by byte, then whatever is written ends within the limit
    as a whole answer; where that took more than the model's own choice, `closed` is True.
    """

    def __init__(self, automaton: Automaton, limit: int) -> None:
        self._automaton, self._guide = automaton, _core().Guide(automaton.index)
        self._state = automaton.start
        self._sure = automaton.distances[self._state] + 1 <= limit
        self._mask = np.zeros(0, np.int32)
        self.closed = False

    def allow(self, tokens: Flags, _: int, /) -> None:
        """What the automaton allows, the end where an answer may end."""
        if len(self._mask) * 32 < len(tokens):
            self._mask = np.zeros(-(-len(tokens) // 32), np.int32)
        self._guide.write_mask_into(self._mask.ctypes.data, self._mask.size, 4)
        tokens[:] = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: len(tokens)]

    def fits(self, token: int, left: int, /) -> bool:
        """Is there room to finish after this token?"""
        automaton = self._automaton
        if not self._sure or left > automaton.furthest + 2:
            return True
        if token == automaton.end:
            fits = self._state in automaton.finals
        else:
            after = automaton.after(self._state, automaton.texts[token])
            fits = after is not None and automaton.distances.get(after, left) + 1 <= left - 1
        self.closed = self.closed or not fits
        return fits

    def closing(self) -> int:
        """A byte nearer to the end."""
        automaton = self._automaton
        if self._state in automaton.finals:
            return automaton.end
        steps = automaton.steps[self._state]
        return automaton.to_id[min(steps, key=lambda char: (automaton.distances[steps[char]], char))]

    def take(self, token: int, /) -> None:
        """Go on by a token."""
        self._guide.advance(token, return_tokens=False)
        after = self._automaton.after(self._state, self._automaton.texts[token])
        if after is None:
            raise LlmError("the automata of a schema disagree; report this with the schema")
        self._state = after


def distances(steps: Steps, finals: frozenset[int]) -> dict[int, int]:
    """Bytes from each state to the nearest final one, by breadth-first search against the steps."""
    before: dict[int, set[int]] = {}
    for state, out in steps.items():
        for after in out.values():
            before.setdefault(after, set()).add(state)
    found, edge = dict.fromkeys(finals, 0), set(finals)
    while edge:
        depth = found[next(iter(edge))] + 1
        edge = {state for after in edge for state in before.get(after, ()) if state not in found}
        found |= dict.fromkeys(edge, depth)
    return found


def token_bytes(tokenizer: Any) -> dict[bytes, list[int]]:
    """The bytes that each token stands for, added tokens left out.

    Knows the two ways of today's language models: byte-level BPE, and SentencePiece with a mark for spaces. Raises
    LlmError for others.
    """
    decoder = tokenizer.backend_tokenizer.decoder
    kind = decoder.__getstate__().decode() if decoder is not None else ""
    if "ByteLevel" in kind:
        read = _byte_level()
    elif "ByteFallback" in kind or "Metaspace" in kind:
        read = None
    else:
        raise LlmError("the tokenizer is neither byte-level nor SentencePiece, so no schema can be enforced with it")
    added = set(tokenizer.get_added_vocab())
    found: dict[bytes, list[int]] = {}
    for token, place in tokenizer.get_vocab().items():
        text = b"" if token in added else _from_pieces(token) if read is None else _from_bytes(token, read)
        if text:
            found.setdefault(text, []).append(place)
    return found


def _from_pieces(token: str) -> bytes:
    if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode("utf-8", "ignore")


def _from_bytes(token: str, read: Mapping[str, int]) -> bytes:
    return bytes(read[char] for char in token) if all(char in read for char in token) else b""


def _byte_level() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level BPE (GPT-2): itself, or the next one from 256 on."""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


def _bytes_only(transitions: Mapping[int, Mapping[int, int]]) -> Steps:
    """Without the end token that final states carry."""
    return {state: {char: after for char, after in out.items() if char < 256} for state, out in transitions.items()}


def _core() -> Any:
    try:
        import outlines_core
    except ImportError:
        raise ConfigError("schemas on local models need outlines-core; run pip install 'hardneg[local]'") from None
    return outlines_core
