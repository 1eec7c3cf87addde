"""Keys that stand in the environment are cut out of whatever is kept or said, also where a server echoes them."""

from __future__ import annotations

import os
from collections.abc import Mapping

ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
SHORTEST = 8
CUT = "[a key was here]"


def secrets(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Values of variables that are named like keys, longest first; short ones would be cut out of common words."""
    found = {value for name, value in environment.items() if name.upper().endswith(ENDINGS)}
    return tuple(sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True))


def redacted(text: str, keys: tuple[str, ...]) -> str:
    """The text without these keys."""
    for key in keys:
        if key in text:
            text = text.replace(key, CUT)
    return text


def one_line(text: str, keys: tuple[str, ...], *, longest: int = 300) -> str:
    """A reason fit to be kept and shown: without keys, in one line, not too long."""
    line = " ".join(redacted(text, keys).split())
    return line if len(line) <= longest else f"{line[:longest]}..."
