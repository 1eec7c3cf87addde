"""Typed configuration: frozen models that refuse unknown keys and report all problems in one line."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hardneg.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration object."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


FieldPath = tuple[int | str, ...]
"""Path of a nested value: keys and positions, outermost first."""


def parse_config(kind: Any, values: object, *, where: str) -> Any:
    """Validate `values` as a Config class or a union of them; raise one ConfigError with every problem."""
    config, problems = validate_config(kind, values)
    if problems:
        listed = "; ".join(f"{'.'.join(map(str, path)) or 'value'}: {message}" for path, message in problems)
        raise ConfigError(f"{where}: {listed}")
    return config


def validate_config(kind: Any, values: object) -> tuple[Any, list[tuple[FieldPath, str]]]:
    """Return the configuration (None if invalid), and every problem with its path."""
    try:
        return TypeAdapter(kind).validate_python(values), []
    except ValidationError as error:
        return None, [(problem["loc"], _message(kind, problem)) for problem in error.errors()]


def _message(kind: Any, problem: ErrorDetails) -> str:
    """Return pydantic's message, or a better one that names what was expected."""
    path = problem["loc"]
    if problem["type"] == "extra_forbidden" and (names := _field_names(_types_at([(kind, None)], path[:-1]))):
        nearest = difflib.get_close_matches(str(path[-1]), names, n=1)
        return f"unknown; did you mean {nearest[0]}?" if nearest else f"unknown, expected one of {', '.join(names)}"
    if problem["type"] == "union_tag_not_found":
        return f"found no {problem['ctx']['discriminator']}, expected one; add it"
    if problem["type"] in ("model_attributes_type", "model_type"):
        tag = next((tag for _, tag in _types_at([(kind, None)], path) if tag is not None), None)
        example = "" if tag is None else f", such as {{{tag}: ...}}"
        return f"found {reprlib.repr(problem['input'])}, expected a mapping of names to values{example}"
    return problem["msg"]


TaggedType = tuple[Any, str | None]
"""A type that a value may have, and the discriminator of the union that it belongs to."""


def _types_at(types: Iterable[TaggedType], path: FieldPath) -> list[TaggedType]:
    """Return the types that a value at a path may have.

    A path holds names of fields, keys, positions and, where pydantic adds them, tags of union members.
    """
    members = [member for kind, tag in types for member in _union_members(kind, tag)]
    if not path:
        return members
    if tagged := [(member, None) for member, tag in members if _has_tag(member, tag, path[0])]:
        return _types_at(tagged, path[1:])
    inner: list[TaggedType] = []
    for member, _ in members:
        if _is_config(member) and path[0] in member.model_fields:
            field = member.model_fields[path[0]]
            inner.append((field.annotation, _discriminator(field)))
        elif get_origin(member) is not None:
            inner += [(element, None) for element in get_args(member)[-2:] if element is not ...]
    return _types_at(inner, path[1:]) if inner else []


def _union_members(kind: Any, tag: str | None) -> Iterator[TaggedType]:
    """Yield the members of a union, or the type itself, without Annotated."""
    if get_origin(kind) is Annotated:
        inner, *annotations = get_args(kind)
        tags = [_discriminator(field) for field in annotations if isinstance(field, FieldInfo)]
        yield from _union_members(inner, next((found for found in tags if found), tag))
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _union_members(member, tag)
    else:
        yield kind, tag


def _has_tag(member: Any, tag: str | None, part: int | str) -> bool:
    """Return True if pydantic's path names the member so: by its tag, or by its class in a union without tags."""
    if not _is_config(member):
        return False
    return (
        part in get_args(member.model_fields[tag].annotation) if tag in member.model_fields else part == member.__name__
    )


def _discriminator(field: FieldInfo) -> str | None:
    return field.discriminator if isinstance(field.discriminator, str) else None


def _is_config(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, Config)


def _field_names(members: Iterable[TaggedType]) -> list[str]:
    return list(dict.fromkeys(name for member, _ in members if _is_config(member) for name in member.model_fields))


def overrides(pairs: list[str]) -> dict[str, object]:
    """Parse `["candidates=16", "ask.n=2"]` into nested dictionaries; values are YAML."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"found option {pair!r}, expected NAME=VALUE, for example candidates=16")
        try:
            _put(values, name.split("."), _number_or(yaml.safe_load(value)), pair)
        except yaml.YAMLError:
            raise ConfigError(
                f"option {pair!r} has no readable value, expected YAML, for example candidates=16"
            ) from None
    return values


def _put(values: dict[str, Any], path: list[str], value: object, pair: str) -> None:
    """Set a nested value."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"found option {pair!r}, but {name} has a value already; leave one of them out")
    values[path[-1]] = value


def _number_or(value: object) -> object:
    """Convert text such as `1e-3`, which YAML does not read as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number, and records repeated keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
        names: list[Any] = [self.construct_object(key, deep=True) for key in own]
        line = node.start_mark.line + 1
        repeated = sorted({str(name) for name in names if names.count(name) > 1})
        self.repeated += [
            f"found {name!r} twice in the mapping of line {line}, expected once; rename one" for name in repeated
        ]
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> tuple[Any, list[str]]:
    """Read a YAML file; return its content and messages about repeated keys, which YAML would drop silently."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        return loader.get_single_data(), loader.repeated
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML ({error}); correct it there") from None


def write_yaml(path: Path, config: Config, *, only_given: bool = False) -> None:
    """Write a configuration as YAML; only_given leaves out fields that were not set."""
    values = config.model_dump(mode="json", exclude_unset=only_given)
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
