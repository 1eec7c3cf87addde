"""Options of the command line as configuration objects."""

from __future__ import annotations

from typing import Any

from hardneg.config import overrides, parse_config
from hardneg.errors import ConfigError


def mapping(pairs: list[str], option: str) -> dict[str, str]:
    """`["title=name"]` -> `{"title": "name"}`."""
    split = [pair.partition("=") for pair in pairs]
    wrong = [name + equals + value for name, equals, value in split if not (name and equals and value)]
    if wrong:
        raise ConfigError(f"found {option} {wrong[0]!r}, expected OURS=THEIRS, for example {option} title=name")
    return {name: value for name, _, value in split}


def chosen(kind: Any, name: str, pairs: list[str], *, where: str) -> Any:
    """Build the configuration object called `name`, with options given as NAME=VALUE."""
    return parse_config(kind, {"kind": name, **overrides(pairs)}, where=f"{where} {name}")
