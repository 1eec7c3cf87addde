"""Samplers, backbones, judges and dataset readers, found by name.

A name is one of three things: a built-in kind (`dns`), the name of an entry point that an installed package declares
(`top-of-two`, in the group `hardneg.samplers`), or `module:Class` (`my_package.my_module:TopOfTwo`). Only an entry point
or an explicit `module:Class` string makes hardneg import code from outside the package. The module must be importable:
installed, or in a folder on PYTHONPATH.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from hardneg.config import Config, find_near_name, validate_config
from hardneg.errors import ConfigError


@dataclass(frozen=True)
class Registry:
    """Objects of one family by name.

    noun: name of the family in messages. group: group of its entry points. builtin: kind -> "module:Class". A built-in
    kind takes precedence over an entry point of the same name.
    """

    noun: str
    group: str
    builtin: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Built-in kinds, followed by the names of installed entry points."""
        installed = sorted({point.name for point in entry_points(group=self.group)} - set(self.builtin))
        return (*self.builtin, *installed)

    def find(self, name: object) -> Any:
        """Import and return the object called `name`. Raises ConfigError where there is none."""
        module_name, _, attribute = self._target(name).partition(":")
        try:
            module = import_module(module_name)
        except ImportError as error:
            raise ConfigError(
                f"found {self.noun} {name!r}, but {module_name} cannot be imported ({error}); install it, or put its "
                "folder on PYTHONPATH"
            ) from None
        if not hasattr(module, attribute):
            raise ConfigError(f"found {self.noun} {name!r}, but {module_name} has no {attribute}; check the name")
        return getattr(module, attribute)

    def _target(self, name: object) -> str:
        """Return "module:Class" for a name."""
        if not isinstance(name, str):
            raise ConfigError(f"found {self.noun} {reprlib.repr(name)}, expected one of {', '.join(self.names)}")
        if name in self.builtin:
            return self.builtin[name]
        targets = {f"{point.module}:{point.attr}" for point in entry_points(group=self.group, name=name)}
        if len(targets) > 1:
            listed = ", ".join(sorted(targets))
            raise ConfigError(f"found {len(targets)} entry points of {self.noun} {name!r}, expected one of {listed}")
        if targets:
            return targets.pop()
        if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
            return name
        near = find_near_name(name, self.names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ConfigError(f"found {self.noun} {name!r}, expected one of {', '.join(self.names)}, or module:Class{hint}")


class PluginFamily(Config):
    """Base of families of configurations whose class is selected by the value of one field.

    A family is a direct subclass with a `registry`. A field of the family's type accepts a mapping with the name of any
    member and the options of that member, and keeps them when it is written.
    """

    registry: ClassVar[Registry]
    tag: ClassVar[str] = "kind"
    """The field with the name of the class."""

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the mapping of a field, with optional entries filled in."""
        return values

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate a family through its registry, and a member by its fields."""
        if "registry" not in cls.__dict__:
            return handler(source)
        by_member = core_schema.simple_ser_schema("any")  # a member is written with its own fields
        return core_schema.no_info_plain_validator_function(cls._member, serialization=by_member)

    @classmethod
    def find_class(cls, name: object) -> type[Self]:
        """Return the member of this family with a name. Raises ConfigError where there is none."""
        member = cls.registry.find(name)
        if not (isinstance(member, type) and issubclass(member, cls)):
            raise ConfigError(
                f"found {cls.registry.noun} {name!r}, which is no subclass of {cls.__name__}; derive it from that class"
            )
        return member

    @classmethod
    def _member(cls, values: object) -> Self:
        """Return the member that `values` describe. Raises one ValidationError with all problems."""
        if isinstance(values, cls):
            return values
        noun, tag = cls.registry.noun, cls.tag
        if not isinstance(values, dict):
            raise _problem(
                f"found {reprlib.repr(values)}, expected a mapping of names to values, such as {{{tag}: ...}}"
            )
        values = cls.complete(values)
        if tag not in values:
            raise _problem(f"found no {tag}, expected that of a {noun}: one of {', '.join(cls.registry.names)}")
        try:
            member = cls.find_class(values[tag])
        except ConfigError as error:
            raise _problem(str(error)) from None
        config, problems = validate_config(member, values)
        if problems:
            details = [InitErrorDetails(type=_problem(message), loc=path, input=None) for path, message in problems]
            raise ValidationError.from_exception_data(member.__name__, details)
        return config  # type: ignore[no-any-return]


class PluginConfig(PluginFamily):
    """Base of configurations whose class is selected by their `kind`.

    Its families are SamplerConfig, SourceConfig, ModelConfig, LossConfig and JudgeConfig. A built-in member declares its `kind`; a class from outside
    the package leaves it out.
    """

    kind: str = ""
    """Name by which the class is found; by default its `module:Class`."""

    @model_validator(mode="before")
    @classmethod
    def _fill_kind(cls, values: Any) -> Any:
        if isinstance(values, dict) and "kind" not in values and not cls.model_fields["kind"].default:
            return {"kind": f"{cls.__module__}:{cls.__qualname__}", **values}
        return values


def _problem(message: str) -> PydanticCustomError:
    return PydanticCustomError("plugin", "{message}", {"message": message})
