"""Typed configuration: frozen models, unknown keys refused, all problems reported in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from hardneg.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration object."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def later(default: Any) -> Any:
    """The default of a field that a later version added: not said where it holds, so that folders made before keep
    their keys."""
    return Field(default, exclude_if=lambda value: value == default)


Place = tuple[int | str, ...]
"""Where in nested values something stands: keys and numbers, outermost first."""


def parse(kind: Any, values: object, *, where: str) -> Any:
    """Validate `values` against a Config class or a union of them; every problem goes into one ConfigError."""
    found, problems = parsed(kind, values)
    if problems:
        said = "; ".join(f"{'.'.join(map(str, place)) or 'value'}: {message}" for place, message in problems)
        raise ConfigError(f"{where}: {said}")
    return found


def parsed(kind: Any, values: object) -> tuple[Any, list[tuple[Place, str]]]:
    """Validate `values`; what they are (None if they have problems), and every problem with its place."""
    try:
        return TypeAdapter(kind).validate_python(values), []
    except ValidationError as error:
        return None, [(problem["loc"], _said(kind, problem)) for problem in error.errors()]


def _said(kind: Any, problem: ErrorDetails) -> str:
    """A problem's message, with what was expected where pydantic leaves that out."""
    if problem["type"] == "extra_forbidden":
        known = _fields_at([kind], problem["loc"][:-1])
        nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        return f"unknown; did you mean {nearest[0]}?" if nearest else f"unknown, expected one of {', '.join(known)}"
    if problem["type"] == "union_tag_not_found":
        return f"found no {problem['ctx']['discriminator']}, expected one; say which"
    if problem["type"] == "model_attributes_type":
        return f"found {problem['input']!r}, expected a mapping of names to values, such as {{kind: ...}}"
    return problem["msg"]


def _fields_at(kinds: Iterable[Any], place: Place) -> list[str]:
    """Names of the fields that the Config classes at a place have, first the innermost's; a place names tags of unions, too."""
    members = [member for kind in kinds for member in _members(kind)]
    configs = [member for member in members if isinstance(member, type) and issubclass(member, Config)]
    if not place:
        return list(dict.fromkeys(name for config in configs for name in config.model_fields))
    within = [config.model_fields[str(place[0])].annotation for config in configs if place[0] in config.model_fields]
    within += [get_args(member)[-1] for member in members if get_origin(member) in (dict, Mapping, list, tuple)]
    tagged = [config for config in configs if _has_tag(config, place[0])]
    return _fields_at(within or tagged, place[1:])


def _members(kind: Any) -> Iterator[Any]:
    """Those of a union, whatever is wrapped around it."""
    if get_origin(kind) is Annotated:
        yield from _members(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        yield from (inner for member in get_args(kind) for inner in _members(member))
    else:
        yield kind


def _has_tag(config: type[Config], tag: int | str) -> bool:
    return any(tag in get_args(field.annotation) for field in config.model_fields.values())


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
