"""Answers constrained to a schema, decoded with random preferences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.llm.bounded_text import ShortText
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hardneg.llm.local import grammar
from hardneg.llm.local.grammar import Grammars, SchemaConstraint, distances, token_bytes
from hardneg.llm.protocol import LlmError
from hardneg.llm.structured import Structured, strict_schema

END = 3


class Part(Structured):
    item: Literal[1, 2, 12]
    name: ShortText


class Whole(Structured):
    sure: Literal["yes", "no"]
    why: ShortText
    parts: list[Part]


class Sure(Structured):
    sure: Literal["yes", "no"]


SCHEMA = strict_schema(Whole)


@pytest.fixture(scope="module")
def grammars(tiny_llama: Path) -> Grammars:
    return Grammars(AutoTokenizer.from_pretrained(tiny_llama), END)


def decode_randomly(constraint: SchemaConstraint, limit: int, rng: np.random.Generator) -> tuple[list[int], bool]:
    """Return random allowed tokens, chosen as by `decode`, and whether the answer ended."""
    tokens: list[int] = []
    for left in range(limit, 0, -1):
        allowed = np.zeros(700, np.bool_)
        constraint.allow(allowed, left)
        candidates = rng.permutation(np.flatnonzero(allowed))[:16].tolist()
        chosen = next((token for token in candidates if constraint.fits(token, left)), None)
        chosen = constraint.closing() if chosen is None else chosen
        if chosen == END:
            return tokens, True
        constraint.take(chosen)
        tokens.append(chosen)
    return tokens, False


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(45, 200))
def test_random_choices_give_a_valid_answer(grammars: Grammars, seed: int, limit: int) -> None:
    constraint = grammars.constraint(SCHEMA, limit)
    tokens, ended = decode_randomly(constraint, limit, np.random.default_rng(seed))
    assert ended
    text = b"".join(grammars.automaton(SCHEMA).texts[token] for token in tokens).decode()
    Whole.model_validate(json.loads(text))


def test_answer_is_complete_within_its_limit(grammars: Grammars) -> None:
    shortest = grammars.automaton(SCHEMA).distances[grammars.automaton(SCHEMA).start]
    assert shortest == len('{"sure":"no","why":"x","parts":[]}')
    for limit in (shortest + 1, shortest + 2, shortest + 7):
        assert all(
            decode_randomly(grammars.constraint(SCHEMA, limit), limit, np.random.default_rng(seed))[1]
            for seed in range(9)
        )
    assert not decode_randomly(grammars.constraint(SCHEMA, shortest // 3), shortest // 3, np.random.default_rng(0))[1]


def test_closed_answer_is_marked(grammars: Grammars) -> None:
    constraint = grammars.constraint(SCHEMA, 60)
    assert decode_randomly(constraint, 60, np.random.default_rng(0))[1]
    assert constraint.closed, "a random name of up to 200 characters does not end by itself"
    free = grammars.constraint(strict_schema(Sure), 60)
    assert decode_randomly(free, 60, np.random.default_rng(0))[1]
    assert not free.closed


def test_length_bounds_are_dropped_for_large_vocabularies(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class One(Structured):
        name: ShortText

    def longest(built: Grammars) -> int:
        """Return the maximum length of a name, up to 300."""
        byte_tokens, constraint = (
            built.automaton(strict_schema(One)).byte_tokens,
            built.constraint(strict_schema(One), 400),
        )
        for byte in b'{"name":"':
            constraint.take(byte_tokens[byte])
        for n in range(300):
            allowed = np.zeros(700, np.bool_)
            constraint.allow(allowed, 400 - n)
            if not allowed[byte_tokens[ord("x")]]:
                return n
            constraint.take(byte_tokens[ord("x")])
        return 300

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    assert longest(Grammars(tokenizer, END)) == 200
    monkeypatch.setattr(grammar, "MAX_SIZE", 1000)
    assert longest(Grammars(tokenizer, END)) == 300


def test_added_tokens_are_never_allowed(grammars: Grammars) -> None:
    constraint = grammars.constraint(SCHEMA, 100)
    for char in b'{"sure":"no","why":"':
        constraint.take(grammars.automaton(SCHEMA).byte_tokens[char])
    allowed = np.zeros(700, np.bool_)
    constraint.allow(allowed, 80)
    assert allowed.sum() > 300
    assert not allowed[:4].any()


def test_automata_are_cached(grammars: Grammars) -> None:
    assert grammars.automaton(SCHEMA) is grammars.automaton(SCHEMA)


def test_unsupported_schema_is_an_error(grammars: Grammars) -> None:
    with pytest.raises(LlmError, match="no automaton for the schema"):
        grammars.constraint('{"type": "object", "patternProperties": {"a": 7}, "allOf": "x"}', 10)


def test_distances_by_hand() -> None:
    steps = {0: {1: 1, 2: 0}, 1: {1: 2}, 2: {}, 3: {1: 3}}
    assert distances(steps, frozenset({2})) == {2: 0, 1: 1, 0: 2}


def test_bytes_of_byte_level_tokens(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    ids_of_bytes = token_bytes(tokenizer)
    assert all(bytes([byte]) in ids_of_bytes for byte in range(256))
    for text in ("a warm jacket", "naïve 長い\n\t"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        reverse = {token: piece for piece, tokens in ids_of_bytes.items() for token in tokens}
        assert b"".join(reverse[token] for token in ids) == text.encode()


def _wrapped(vocabulary: list[str], decoder: decoders.Decoder | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(vocabulary)}, [], byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if decoder is not None:
        tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


def test_bytes_of_sentencepiece_tokens() -> None:
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    ids_of_bytes = token_bytes(_wrapped(["</s>", "▁tent", "s", "<0x0A>", "<0xE9>", "長"], decoder))
    assert ids_of_bytes == {b" tent": [1], b"s": [2], b"\n": [3], b"\xe9": [4], "長".encode(): [5]}


def test_other_tokenizers_are_an_error() -> None:
    with pytest.raises(LlmError, match="neither byte-level nor SentencePiece"):
        token_bytes(_wrapped(["</s>", "tent"], decoders.WordPiece()))


def test_missing_library_names_the_extra(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "outlines_core", None)
    with pytest.raises(Exception, match=r"need outlines-core; run pip install 'hardneg\[local\]'"):
        grammars.constraint(strict_schema(Part), 10)


def test_lists_of_strings(grammars: Grammars) -> None:
    class Words(BaseModel):
        words: list[ShortText]

    tokens, ended = decode_randomly(grammars.constraint(strict_schema(Words), 60), 60, np.random.default_rng(5))
    assert ended
    assert tokens
