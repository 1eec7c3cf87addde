"""Fields of configuration classes as text: default, range, and the sentence below the field in the source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
"""Keyword of a JSON schema -> its words."""
TYPES = {"boolean": "true or false", "object": "mapping", "string": "text"}
"""Type of a JSON schema -> its words, where they differ."""
UNLIMITED = 2**63
"""A limit from which it is left out: that of a random seed."""


@dataclass(frozen=True)
class ConfigField:
    """A field. default: None where one must be given. range: type and limits, or the accepted values."""

    name: str
    default: Any
    range: str
    description: str


def list_fields(kind: type[BaseModel], *, leave_out: tuple[str, ...] = ()) -> list[ConfigField]:
    """Return the fields of a configuration class, in the order in which they are written."""
    descriptions = _read_descriptions(kind)
    return [
        ConfigField(name, _default_of(field), _range_of(field), descriptions.get(name, ""))
        for name, field in kind.model_fields.items()
        if name not in leave_out
    ]


def first_paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def _read_descriptions(kind: type[BaseModel]) -> dict[str, str]:
    """Return name -> the string below a field, from the source of the class and of its bases."""
    descriptions: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            try:
                (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            except (OSError, TypeError, SyntaxError, ValueError):  # a class without a source file
                continue
            statements = node.body if isinstance(node, ast.ClassDef) else []
            for field, below in pairwise(statements):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    text = below.value if isinstance(below, ast.Expr) else None
                    if isinstance(text, ast.Constant) and isinstance(text.value, str):
                        descriptions[field.target.id] = " ".join(text.value.split())
    return descriptions


def _default_of(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return None
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default


def _range_of(field: FieldInfo) -> str:
    annotation: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    if field.discriminator is not None:
        annotation = Annotated[annotation, field]
    try:
        schema = TypeAdapter(annotation).json_schema()
    except PydanticInvalidForJsonSchema:
        return "a mapping with a kind"
    return _describe_schema(schema)


def _describe_schema(schema: dict[str, Any]) -> str:
    """Return the accepted values of a JSON schema in words."""
    if "discriminator" in schema:
        return f"a mapping with kind: {', '.join(schema['discriminator'].get('mapping', {}))}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_describe_schema, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    name = str(schema.get("type", "value"))
    if name == "integer" and "exclusiveMinimum" in schema:
        schema = {**schema, "minimum": schema["exclusiveMinimum"] + 1}
        del schema["exclusiveMinimum"]
    bounds = {keyword: schema[keyword] for keyword in BOUNDS if abs(schema.get(keyword, UNLIMITED)) < UNLIMITED}
    limits = [f"{BOUNDS[keyword]} {_number(bound)}" for keyword, bound in bounds.items()]
    limits += [f"matching {schema['pattern']}"] if "pattern" in schema else []
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"list of: {_describe_schema(schema['items'])}"
    return ", ".join([TYPES.get(name, name), *limits])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
