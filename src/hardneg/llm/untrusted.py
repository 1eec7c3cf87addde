"""Untrusted text, cleaned for use as data in a prompt."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

ELLIPSIS = "…"
LONGEST_WORD = 40
"""Maximum number of characters that a cut goes back to the end of a word; some scripts use no spaces."""
KNOWN_MARKERS = (
    *("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|endofprompt|>"),  # ChatML, Qwen, Phi-4
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<unk>"),  # Llama 2, Mistral
    *("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]"),  # Mistral
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[IMG]", "[THINK]", "[/THINK]"),
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
    *("<|header_start|>", "<|header_end|>", "<|eot|>", "<|python_tag|>"),  # Llama 3, 4
    *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<bos>", "<eos>", "<pad>", "<mask>"),  # Gemma
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|return|>", "<|start|>", "<|channel|>", "<|message|>"),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),  # Qwen, DeepSeek
    *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>"),
)
"""Chat markers of common model families, for endpoints without a tokenizer. `clean` also removes every <|...|>."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters, those that are white space apart
    "\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\ud800-\udfff\ue000-\uf8ff"  # halves of surrogate pairs, private use
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]+"  # tag characters, variation selectors, private use
)
"""Invisible characters: controls, format and bidirectional characters, zero widths, tags, variation selectors."""
_ANY_MARKER = re.compile(r"<\|[^<>|]{1,64}\|>")


def clean(text: str, *, chat_markers: Sequence[str], max_length: int) -> str:
    """Return text that cannot act on a model: at most `max_length` characters on one line, normalized (NFC).

    Removes control characters, bidirectional overrides and isolates, zero-width, tag and private-use characters; every
    chat marker and every <|...|>, in any case and also if spelled by full-width or other compatibility characters
    (NFKC). Text that a removal joins is checked again. Text that is too long is cut after the last whole word, with an
    ellipsis. Cleaning clean text changes nothing.
    """
    markers = _marker_pattern(tuple(chat_markers))
    while (cleaned := _clean_once(text, markers, max_length)) != text:
        text = cleaned
    return text


def data_block(name: str, values: Mapping[str, object]) -> str:
    """Return untrusted values as one JSON object on a line between <name> and </name>.

    Angle brackets within values become JSON escapes, so no value can close the block or open another.
    """
    block = json.dumps(dict(values), ensure_ascii=False)
    for char in "<>":
        block = block.replace(char, f"\\u{ord(char):04x}")
    return f"<{name}>\n{block}\n</{name}>"


@lru_cache(maxsize=8)
def _marker_pattern(chat_markers: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern whose group 1 is the longest marker at a place of folded text; its matches may overlap."""
    strings = {_fold(marker)[0] for marker in chat_markers if marker.strip()}
    if not strings:
        return re.compile(r"(?!)")
    firsts = "".join(re.escape(string[0]) for string in strings)
    longest_first = "|".join(map(re.escape, sorted(strings, key=len, reverse=True)))
    return re.compile(f"(?=[{firsts}])(?=({longest_first}))")


def _clean_once(text: str, markers: re.Pattern[str], max_length: int) -> str:
    text = unicodedata.normalize("NFC", _HIDDEN.sub("", text))
    folded, places = _fold(text)
    spans = [match.span() for match in _ANY_MARKER.finditer(folded)]
    if spans := spans + [match.span(1) for match in markers.finditer(folded)]:
        chars = list(text)
        for start, end in spans:
            first, last = places[start], places[end - 1]
            chars[first : last + 1] = [" "] * (last + 1 - first)
        text = "".join(chars)
    return _cut(" ".join(text.split()), max_length)


def _fold(text: str) -> tuple[str, Sequence[int]]:
    """Return text as markers are compared, and for each of its characters the index of its source."""
    if text.isascii():
        return text.lower(), range(len(text))
    parts = [unicodedata.normalize("NFKC", char).lower() for char in text]
    return "".join(parts), [index for index, part in enumerate(parts) for _ in part]


def _cut(text: str, max_length: int) -> str:
    if len(text) <= max_length:
        return text
    head = text[: max(max_length - 1, 0)]
    last = head.rfind(" ")
    if not text[len(head)].isspace() and 0 < last >= len(head) - LONGEST_WORD:  # the cut is within a word
        head = head[:last]
    return (head.rstrip() + ELLIPSIS)[: max(max_length, 0)]
