"""Text that strangers wrote, made fit to stand in a prompt as data."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

ELLIPSIS = "…"
LONGEST_WORD = 40
"""A cut goes back to a word's end over at most so many characters: some scripts set no spaces."""
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
"""Chat markers of the usual families, for endpoints whose tokenizer is not here. `clean` also takes every <|...|>."""

_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters, those that are white space apart
    "\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\ud800-\udfff\ue000-\uf8ff"  # halves of surrogate pairs, private use
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]+"  # tag characters, variation selectors, private use
)
"""What nobody sees: controls, format and bidirectional characters, zero widths, tags, variation selectors."""
_ANY_MARKER = re.compile(r"<\|[^<>|]{1,64}\|>")


def clean(text: str, *, chat_markers: Sequence[str], max_length: int) -> str:
    """Text without what could act on a model: at most `longest` characters on one line, normalised (NFC).

    Goes: control characters, bidirectional overrides and isolates, zero-width, tag and private-use characters; every
    string of `foreign` and every <|...|>, whatever its case and also where full-width or other compatibility
    characters spell it (NFKC). What a removal brings together is looked at again. What is too long is cut after the
    last whole word, with an ellipsis. Cleaning what is clean changes nothing.
    """
    markers = _markers(tuple(chat_markers))
    while (cleaned := _once(text, markers, max_length)) != text:
        text = cleaned
    return text


def data_block(name: str, values: Mapping[str, object]) -> str:
    """Untrusted values as one JSON object on a line between <name> and </name>.

    Angle brackets within values become JSON escapes, so that no value can close the block or open another.
    """
    said = json.dumps(dict(values), ensure_ascii=False)
    for char in "<>":
        said = said.replace(char, f"\\u{ord(char):04x}")
    return f"<{name}>\n{said}\n</{name}>"


class _Markers:
    """Strings to be found whatever their case: their lengths by first character, longest first."""

    def __init__(self, chat_markers: tuple[str, ...]) -> None:
        self.strings = frozenset(_folded(string)[0] for string in chat_markers if string.strip())
        lengths: dict[str, set[int]] = {}
        for string in self.strings:
            lengths.setdefault(string[0], set()).add(len(string))
        self.lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        firsts = "".join(map(re.escape, self.lengths))
        self.starts = re.compile(f"[{firsts}]") if firsts else re.compile(r"(?!)")

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where markers stand in folded text; spans may overlap."""
        found = [match.span() for match in _ANY_MARKER.finditer(text)]
        for match in self.starts.finditer(text):
            start = match.start()
            for length in self.lengths[match[0]]:
                if start + length <= len(text) and text[start : start + length] in self.strings:
                    found.append((start, start + length))
                    break
        return found


@lru_cache(maxsize=8)
def _markers(chat_markers: tuple[str, ...]) -> _Markers:
    return _Markers(chat_markers)


def _once(text: str, markers: _Markers, max_length: int) -> str:
    text = unicodedata.normalize("NFC", _HIDDEN.sub("", text))
    return _cut(" ".join(_without(text, markers).split()), max_length)


def _without(text: str, markers: _Markers) -> str:
    """Put a space in the place of every marker."""
    folded, places = _folded(text)
    spans = markers.spans(folded)
    if not spans:
        return text
    kept = list(text)
    for start, end in spans:
        first, last = places[start], places[end - 1]
        kept[first : last + 1] = [" "] * (last + 1 - first)
    return "".join(kept)


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """Text as markers are compared, and for each of its characters the place of the one that it came from."""
    if text.isascii():
        return text.lower(), range(len(text))
    parts = [unicodedata.normalize("NFKC", char).lower() for char in text]
    return "".join(parts), [place for place, part in enumerate(parts) for _ in part]


def _cut(text: str, max_length: int) -> str:
    if len(text) <= max_length:
        return text
    head = text[: max(max_length - 1, 0)]
    last = head.rfind(" ")
    if not text[len(head)].isspace() and 0 < last >= len(head) - LONGEST_WORD:  # the cut falls into a word
        head = head[:last]
    return (head.rstrip() + ELLIPSIS)[: max(max_length, 0)]
