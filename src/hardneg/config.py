"""Typed configuration: frozen models that refuse unknown keys and report all problems in one line."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from hardneg.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration object."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Replace pydantic's messages by ones that name what was expected."""
        try:
            return handler(values)
        except ValidationError as error:
            names = list(cls.model_fields)
            details = [
                InitErrorDetails(
                    type=PydanticCustomError("config", "{message}", {"message": _message(problem, names)}),
                    loc=problem["loc"],
                    input=problem["input"],
                )
                for problem in error.errors()
            ]
            raise ValidationError.from_exception_data(cls.__name__, details) from None


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
        return None, [(_path(problem), _message(problem)) for problem in error.errors()]


def _path(problem: ErrorDetails) -> FieldPath:
    """Return the path without the name that pydantic gives to `Config._explain`."""
    return tuple(part for part in problem["loc"] if not str(part).startswith("function-wrap["))


def _message(problem: ErrorDetails, names: Sequence[str] = ()) -> str:
    """Return the message of a problem in a class with the given field names."""
    if problem["type"] == "extra_forbidden" and names:
        nearest = difflib.get_close_matches(str(problem["loc"][-1]), names, n=1)
        return f"unknown; did you mean {nearest[0]}?" if nearest else f"unknown, expected one of {', '.join(names)}"
    if problem["type"] == "union_tag_not_found":
        return f"found no {problem['ctx']['discriminator']}, expected one; add it"
    if problem["type"] in ("model_attributes_type", "model_type"):
        return f"found {reprlib.repr(problem['input'])}, expected a mapping of names to values"
    return problem["msg"]


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
