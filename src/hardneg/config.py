"""Typed configuration: frozen models that refuse unknown keys and report all problems in one line."""

from __future__ import annotations

import difflib
import os
import re
import reprlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from hardneg.errors import ConfigError
from hardneg.storage import name_disk_errors

MAX_VECTOR_SIZE, MAX_PER_ROW, MAX_BATCH, MAX_STEPS, MAX_DEPTH = 16_384, 10_000, 2**24, 10_000_000, 99_999
"""Limits of sizes, above which a number is taken for a mistake: it is refused before memory or time is spent."""
VectorSize = Annotated[int, Field(gt=0, le=MAX_VECTOR_SIZE)]
"""Number of dimensions of an embedding or a hidden layer."""
PerRow = Annotated[int, Field(gt=0, le=MAX_PER_ROW)]
"""Number of candidates, neighbours, negatives or draws of one user, item or pair."""
BatchSize = Annotated[int, Field(gt=0, le=MAX_BATCH)]
"""Number of pairs or prompts that are in memory together."""
Steps = Annotated[int, Field(gt=0, le=MAX_STEPS)]
"""Number of epochs, steps or trials."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""Random seed."""
MetricName = Annotated[str, Field(pattern=r"^(recall|ndcg|precision|hit_rate)@[1-9]\d{0,4}$")]
"""Metric at a depth of the ranking from 1 to MAX_DEPTH, such as recall@20."""
NEAR = 0.75
"""Least similarity of a suggested name: a few letters differ, but it is not another word."""


class Config(BaseModel):
    """Base of every configuration object."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    later_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that are written only where they differ from the default, so that artifacts of versions without them keep
    their keys."""

    @model_serializer(mode="wrap")
    def _leave_out_later_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        fields = type(self).model_fields
        usual = {name for name in self.later_fields if getattr(self, name) == fields[name].default}
        return {name: value for name, value in values.items() if name not in usual}

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


MAX_YAML_DEPTH, MAX_YAML_VALUES = 50, 1_000_000
"""Limits of a YAML file: nested levels, and values with aliases (`*name`) unfolded."""
FieldPath = tuple[int | str, ...]
"""Path of a nested value: keys and positions, outermost first."""


def parse_config(kind: Any, values: object, *, where: str) -> Any:
    """Validate `values` as a Config class or a union of them; raise one ConfigError with every problem."""
    config, problems = validate_config(kind, values)
    if problems:
        listed = "; ".join(": ".join(filter(None, [".".join(map(str, path)), message])) for path, message in problems)
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
        nearest = find_near_name(str(problem["loc"][-1]), names)
        return f"unknown; did you mean {nearest}?" if nearest else f"unknown, expected one of {', '.join(names)}"
    if problem["type"] == "union_tag_not_found":
        return f"found no {problem['ctx']['discriminator']}, expected one; add it"
    if problem["type"] in ("model_attributes_type", "model_type"):
        return f"found {reprlib.repr(problem['input'])}, expected a mapping of names to values"
    return problem["msg"].removeprefix("Value error, ")


def find_near_name(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of some names; None where none is near."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=NEAR)), None)


def overrides(pairs: list[str]) -> dict[str, object]:
    """Parse `["candidates=16", "ask.n=2"]` into nested dictionaries; values are YAML."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"found option {pair!r}, expected NAME=VALUE, for example candidates=16")
        try:
            _put(values, name.split("."), _number_or(_Loader(value).get_single_data()), pair)
        except (yaml.YAMLError, ValueError, TypeError, OverflowError):
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


def require_memory(n_bytes: int, what: str) -> None:
    """Raise ConfigError where something is larger than the memory of this machine."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if n_bytes > available:
        raise ConfigError(
            f"{what} takes {n_bytes / 2**30:,.0f} GiB while it is trained, this machine has {available / 2**30:,.0f}; "
            "choose a smaller size"
        )


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number, and records repeated keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[str] = []
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count the levels."""
        self.depth += 1
        if self.depth > MAX_YAML_DEPTH:
            raise yaml.YAMLError(f"found more than {MAX_YAML_DEPTH} levels of nesting, expected fewer")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_data(self) -> Any:
        """Return the content, unless it unfolds to too many values."""
        node = self.get_single_node()
        if node is None:
            return None
        if _count_values(node, {}) > MAX_YAML_VALUES:
            raise yaml.YAMLError(f"its aliases unfold to more than {MAX_YAML_VALUES:,} values")
        return self.construct_document(node)

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


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return the number of values below a node, aliases unfolded. counts: of nodes seen before."""
    if id(node) not in counts:
        counts[id(node)] = MAX_YAML_VALUES  # while it is counted: a part that contains itself has no end
        children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        own = () if isinstance(node, yaml.ScalarNode) else children
        counts[id(node)] = 1 + sum(_count_values(child, counts) for child in own)
    return counts[id(node)]


def read_yaml(path: Path) -> tuple[Any, list[str]]:
    """Read a YAML file; return its content and messages about repeated keys, which YAML would drop silently."""
    return parse_yaml(path.read_bytes(), str(path))


def parse_yaml(text: str | bytes, where: str) -> tuple[Any, list[str]]:
    """Parse YAML as `read_yaml` does. where: the file, for messages."""
    try:
        loader = _Loader(text if isinstance(text, str) else text.decode("utf-8"))
        return loader.get_single_data(), loader.repeated
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid YAML ({error}); correct it there") from None


def write_yaml(path: Path, config: Config, *, only_given: bool = False) -> None:
    """Write a configuration as YAML; only_given leaves out fields that were not set."""
    values = config.model_dump(mode="json", exclude_unset=only_given)
    with name_disk_errors(path):
        path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
