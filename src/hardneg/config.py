"""Typed configuration: frozen models, unknown keys refused, all problems reported in one line."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hardneg.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration object."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def later(default: Any) -> Any:
    """The default of a field that a later version added: not said where it holds, so that folders made before keep
    their keys."""
    return Field(default, exclude_if=lambda value: value == default)


FieldPath = tuple[int | str, ...]
"""Where in nested values something stands: keys and numbers, outermost first."""


def parse_config(kind: Any, values: object, *, where: str) -> Any:
    """Validate `values` against a Config class or a union of them; every problem goes into one ConfigError."""
    found, problems = validated(kind, values)
    if problems:
        said = "; ".join(f"{'.'.join(map(str, place)) or 'value'}: {message}" for place, message in problems)
        raise ConfigError(f"{where}: {said}")
    return found


def validated(kind: Any, values: object) -> tuple[Any, list[tuple[FieldPath, str]]]:
    """Validate `values`; what they are (None if they have problems), and every problem with its place."""
    try:
        return TypeAdapter(kind).validate_python(values), []
    except ValidationError as error:
        return None, [(problem["loc"], _said(kind, problem)) for problem in error.errors()]


def _said(kind: Any, problem: ErrorDetails) -> str:
    """A problem's message, with what was expected where pydantic leaves that out."""
    place = problem["loc"]
    if problem["type"] == "extra_forbidden" and (known := _fields(_within([(kind, None)], place[:-1]))):
        nearest = difflib.get_close_matches(str(place[-1]), known, n=1)
        return f"unknown; did you mean {nearest[0]}?" if nearest else f"unknown, expected one of {', '.join(known)}"
    if problem["type"] == "union_tag_not_found":
        return f"found no {problem['ctx']['discriminator']}, expected one; say which"
    if problem["type"] in ("model_attributes_type", "model_type"):
        told_by = next((tag for _, tag in _within([(kind, None)], place) if tag is not None), None)
        such_as = "" if told_by is None else f", such as {{{told_by}: ...}}"
        return f"found {reprlib.repr(problem['input'])}, expected a mapping of names to values{such_as}"
    return problem["msg"]


Member = tuple[Any, str | None]
"""A type that may stand somewhere, and the field by which it is told from others there."""


def _within(kinds: Iterable[Member], place: FieldPath) -> list[Member]:
    """What may stand at a place: names of fields, keys, numbers, and, where pydantic names them, members of a union."""
    members = [member for kind, tag in kinds for member in _members(kind, tag)]
    if not place:
        return members
    if chosen := [(member, None) for member, tag in members if _is_named(member, tag, place[0])]:
        return _within(chosen, place[1:])
    inner: list[Member] = []
    for member, _ in members:
        if _is_config(member) and place[0] in member.model_fields:
            field = member.model_fields[place[0]]
            inner.append((field.annotation, _tag_of(field)))
        else:
            inner += [(one, None) for one in get_args(member)[-2:] if get_origin(member) is not None and one is not ...]
    return _within(inner, place[1:]) if inner else []


def _members(kind: Any, tag: str | None) -> Iterator[Member]:
    """Those of a union, whatever is wrapped around it."""
    if get_origin(kind) is Annotated:
        inner, *wrapped = get_args(kind)
        told_by = [found for one in wrapped if isinstance(one, FieldInfo) and (found := _tag_of(one))]
        yield from _members(inner, told_by[0] if told_by else tag)
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _members(member, tag)
    else:
        yield kind, tag


def _is_named(member: Any, tag: str | None, part: int | str) -> bool:
    """Is it the member of a union that a part of a place names: by its tag, or, where there are no tags, by its class?"""
    if not _is_config(member):
        return False
    return (
        part in get_args(member.model_fields[tag].annotation) if tag in member.model_fields else part == member.__name__
    )


def _tag_of(field: FieldInfo) -> str | None:
    return field.discriminator if isinstance(field.discriminator, str) else None


def _is_config(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, Config)


def _fields(members: Iterable[Member]) -> list[str]:
    return list(dict.fromkeys(name for member, _ in members if _is_config(member) for name in member.model_fields))


def overrides(pairs: list[str]) -> dict[str, object]:
    """Turn `["candidates=16", "ask.n=2"]` into nested dictionaries; values are read as YAML."""
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
    """Set a value under its dotted name."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"found option {pair!r}, but {name} was given a value already; leave one of them out")
    values[path[-1]] = value


def _number_or(value: object) -> object:
    """YAML reads `1e-3` as text; people mean the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as the number that people mean, and remembers keys that stand twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = (key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
        names: list[Any] = [self.construct_object(key, deep=True) for key in own]
        line = node.start_mark.line + 1
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        self.repeated += [f"{name!r} stands twice in the mapping of line {line}; rename one" for name in twice]
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> tuple[Any, list[str]]:
    """What a YAML file says, and its keys that stand twice, of which plain YAML would drop one silently."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        return loader.get_single_data(), loader.repeated
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML ({error}); mend it there") from None


def write_yaml(path: Path, config: Config, *, only_given: bool = False) -> None:
    """Write a configuration so that a person can read and edit it; only_given leaves defaults out."""
    values = config.model_dump(mode="json", exclude_unset=only_given)
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
