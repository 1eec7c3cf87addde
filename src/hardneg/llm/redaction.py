"""Removal of API keys from what servers and adapters write, since some of them quote the key that they were sent."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

KEY_ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
MIN_KEY_LENGTH, MIN_NAMED_LENGTH = 8, 4
"""Minimum characters of a key, and of the one that the user names; shorter values would be cut out of common words."""
REPLACEMENT = "[a key was here]"


def secrets(environment: Mapping[str, str] = os.environ, *, named: str = "") -> tuple[str, ...]:
    """Return the values of variables named like keys, and of the variable called `named`, longest first."""
    values = {value.strip() for name, value in environment.items() if name.upper().endswith(KEY_ENDINGS)}
    values = {value for value in values if len(value) >= MIN_KEY_LENGTH}
    if len(value := environment.get(named, "").strip()) >= MIN_NAMED_LENGTH:
        values.add(value)
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


def redact(text: str, keys: tuple[str, ...]) -> str:
    """Return the text without these keys, also where they are quoted for a URL or JSON, or in base64 or hex."""
    for key in keys:
        for form in _forms(key):
            if form in text:
                text = _pattern(form).sub(REPLACEMENT, text)
    return text


def redact_values(values: Any, keys: tuple[str, ...]) -> Any:
    """Return JSON values without these keys in any string, names included."""
    if isinstance(values, str):
        return redact(values, keys)
    if isinstance(values, dict):
        return {redact(name, keys): redact_values(value, keys) for name, value in values.items()}
    if isinstance(values, list) and not all(isinstance(value, float) for value in values):  # a vector holds no text
        return [redact_values(value, keys) for value in values]
    return values


def one_line(text: str, keys: tuple[str, ...], *, max_length: int = 300) -> str:
    """Return a reason fit to store and show: without keys and controls, on one line, cut to `max_length` characters."""
    line = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", redact(text, keys)).split())
    return line if len(line) <= max_length else f"{line[:max_length]}..."


@lru_cache(maxsize=32)
def _forms(key: str) -> tuple[str, ...]:
    """Return the forms in which a key may be written, longest first."""
    forms = {key, quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1], key.encode().hex()}
    for offset in range(3):  # base64 of a text that holds the key, such as of "user:key"
        code = base64.b64encode(b"\0" * offset + key.encode()).decode("ascii").rstrip("=")
        whole = code[-(-offset * 8 // 6) : (offset + len(key.encode())) * 8 // 6]
        forms |= {whole, whole.replace("+", "-").replace("/", "_")} if len(whole) >= MIN_KEY_LENGTH else set()
    return tuple(sorted(forms, key=len, reverse=True))


@lru_cache(maxsize=512)
def _pattern(form: str) -> re.Pattern[str]:
    """Return a pattern of a form; a short one counts as a whole word alone."""
    edge = r"(?<!\w){}(?!\w)" if len(form) < MIN_KEY_LENGTH else "{}"
    return re.compile(edge.format(re.escape(form)))
