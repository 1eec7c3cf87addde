"""API keys of the environment are removed from everything that is stored or shown, even if a server quotes them."""

from __future__ import annotations

import os
from collections.abc import Mapping

KEY_ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
MIN_LENGTH = 8
REPLACEMENT = "[a key was here]"


def secrets(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the values of variables named like keys, longest first; short values would be cut out of common words."""
    values = {value for name, value in environment.items() if name.upper().endswith(KEY_ENDINGS)}
    return tuple(sorted((value for value in values if len(value) >= MIN_LENGTH), key=len, reverse=True))


def redact(text: str, keys: tuple[str, ...]) -> str:
    """Return the text without these keys."""
    for key in keys:
        if key in text:
            text = text.replace(key, REPLACEMENT)
    return text


def one_line(text: str, keys: tuple[str, ...], *, max_length: int = 300) -> str:
    """Return a reason fit to store and show: without keys, on one line, cut to `max_length` characters."""
    line = " ".join(redact(text, keys).split())
    return line if len(line) <= max_length else f"{line[:max_length]}..."
