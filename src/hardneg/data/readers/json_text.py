"""Conversion of nested JSON values to text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def json_string(value: Any) -> str:
    """Return a value as a string: blank for null, `?` for an unpaired surrogate."""
    text = "" if value is None else str(value).strip()
    return text if text.isascii() else text.encode(errors="replace").decode()


def join_texts(value: Any, separator: str = ", ") -> str:
    """Join the distinct texts in nested lists, in order: `[["Toys", "Kites"], ["Toys"]]` becomes `Toys, Kites`."""
    return separator.join(dict.fromkeys(text for text in _flatten(value) if text))


def list_values(value: Any) -> list[str]:
    """Convert `{"Colour": "red", "Sizes": ["S", "M"]}` to `["Colour: red", "Sizes: S, M"]`, without empty entries."""
    if not isinstance(value, dict):
        return [json_string(value)]
    texts = {json_string(name): join_texts(entry) for name, entry in value.items()}
    return [f"{name}: {text}" for name, text in texts.items() if text]


def _flatten(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _flatten(entry)
    elif isinstance(value, dict):
        yield from list_values(value)
    else:
        yield json_string(value)
