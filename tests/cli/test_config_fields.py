"""Fields of configurations: defaults, ranges in words, and sentences from the source."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveFloat, PositiveInt

from hardneg.cli.config_fields import first_paragraph, list_fields
from hardneg.config import BatchSize, Config, MetricName, Seed
from hardneg.judging import JudgeConfig
from hardneg.models import ModelConfig
from hardneg.plugins import PluginConfig
from hardneg.sampling import DNS, SamplerConfig, SourceConfig, Uniform
from hardneg.training import FitConfig, LossConfig


class Base(Config):
    """A base."""

    size: BatchSize = 8
    """Number of
    pairs."""
    share: Annotated[float, Field(ge=0, lt=1)]
    """A share."""


class Derived(Base):
    """Fields of several kinds."""

    kind: Literal["derived"] = "derived"
    size: BatchSize = 16
    mode: Literal["fast", "slow"] = "fast"
    """How."""
    weights: tuple[PositiveFloat, ...] = (1.0, 2.0)
    limit: PositiveInt | None = None
    seed: Seed = 0
    metric: MetricName = "ndcg@20"
    inner: Annotated[Uniform | DNS, Field(discriminator="kind")] = DNS(candidates=3)
    outer: SamplerConfig = Uniform()
    flag: bool = False


def test_fields_have_default_range_and_description() -> None:
    fields = {field.name: field for field in list_fields(Derived, leave_out=("kind",))}
    assert list(fields) == ["size", "share", "mode", "weights", "limit", "seed", "metric", "inner", "outer", "flag"]
    assert {name: field.range for name, field in fields.items()} == {
        "size": "integer, at least 1, at most 16,777,216",
        "share": "number, at least 0, below 1",
        "mode": "fast, slow",
        "weights": "list of: number, above 0",
        "limit": "integer, at least 1 or null",
        "seed": "integer, at least 0",
        "metric": r"text, matching ^(recall|ndcg|precision|hit_rate)@[1-9]\d{0,4}$",
        "inner": "a mapping with kind: dns, uniform",
        "outer": "a mapping with a kind",
        "flag": "true or false",
    }
    assert fields["size"].description == "Number of pairs.", "from the base, where the class has none"
    assert (fields["mode"].description, fields["limit"].description) == ("How.", "")
    assert (fields["size"].default, fields["share"].default, fields["weights"].default) == (16, None, (1.0, 2.0))
    assert fields["inner"].default["candidates"] == 3


FAMILIES: list[type[PluginConfig]] = [SamplerConfig, SourceConfig, ModelConfig, LossConfig, JudgeConfig]
CLASSES = [family.find_class(name) for family in FAMILIES for name in family.registry.builtin]


@pytest.mark.parametrize("kind", [*CLASSES, FitConfig], ids=lambda kind: kind.__name__)
def test_every_option_of_the_package_is_described(kind: type[Config]) -> None:
    fields = list_fields(kind, leave_out=("kind",))
    assert [field.name for field in fields if not field.description.endswith(".")] == []
    assert first_paragraph(kind.__doc__).endswith(".")


def test_a_class_without_a_source_file_has_no_descriptions() -> None:
    scope: dict[str, type[Config]] = {}
    exec("class Unsaved(Config):\n    size: int = 1\n    '''A size.'''", {"Config": Config}, scope)
    (field,) = list_fields(scope["Unsaved"])
    assert (field.name, field.default, field.description) == ("size", 1, "")


def test_the_first_paragraph_is_one_line() -> None:
    assert first_paragraph("One\n    two.\n\n    Three.") == "One two."
    assert first_paragraph(None) == ""
