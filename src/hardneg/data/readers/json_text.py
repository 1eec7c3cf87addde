"""Nested JSON values as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def json_words(value: Any) -> str:
    """One text: a blank for what is missing, a number as it is spelled, `?` for half a surrogate pair."""
    text = "" if value is None else str(value).strip()
    return text if text.isascii() else text.encode(errors="replace").decode()


def joined_text(value: Any, separator: str = ", ") -> str:
    """The distinct texts in a value, however deep its lists, in their order: `[["Toys", "Kites"], ["Toys"]]` is `Toys, Kites`."""
    return separator.join(dict.fromkeys(text for text in _flat(value) if text))


def named_values(value: Any) -> list[str]:
    """`{"Colour": "red", "Sizes": ["S", "M"]}` as `["Colour: red", "Sizes: S, M"]`; entries without a value are left out."""
    if not isinstance(value, dict):
        return [json_words(value)]
    texts = {json_words(name): joined_text(entry) for name, entry in value.items()}
    return [f"{name}: {text}" for name, text in texts.items() if text]


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _flat(entry)
    elif isinstance(value, dict):
        yield from named_values(value)
    else:
        yield json_words(value)
