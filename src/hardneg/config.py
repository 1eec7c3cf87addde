"""Typed configuration: frozen models, unknown keys refused, all problems reported in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hardneg.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration object."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse(kind: Any, values: object, *, where: str) -> Any:
    """Validate `values` against a Config class or a union of them; every problem goes into one ConfigError."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['msg']}" for p in error.errors())
        raise ConfigError(f"{where}: {problems}") from None


def overrides(pairs: list[str]) -> dict[str, object]:
    """Turn `["candidates=16", "alpha=.1"]` into a dictionary; values are read as YAML."""
    values: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"found option {pair!r}, expected NAME=VALUE, for example candidates=16")
        try:
            values[name] = _number_or(yaml.safe_load(value))
        except yaml.YAMLError:
            raise ConfigError(
                f"option {pair!r} has no readable value, expected YAML, for example candidates=16"
            ) from None
    return values


def _number_or(value: object) -> object:
    """YAML reads `1e-3` as text; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def write_yaml(path: Path, config: Config) -> None:
    """Write a configuration so that a person can read and edit it."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
