"""Configurations: validation, overrides and YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from hardneg.config import Config, overrides, parse_config, read_yaml, write_yaml
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError, DataError, HardnegError


class Apple(Config):
    kind: Literal["apple"] = "apple"
    weight: Annotated[int, Field(ge=1)] = 3
    name: str = "boskoop"


class Pear(Config):
    kind: Literal["pear"] = "pear"


Fruit = Annotated[Apple | Pear, Field(discriminator="kind")]


def test_errors_have_one_root_and_are_standard_errors_too() -> None:
    assert issubclass(ConfigError, HardnegError)
    assert issubclass(DataError, HardnegError)
    assert issubclass(ConfigError, ValueError)
    assert issubclass(DataError, ValueError)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^fruit\.yaml: wieght: unknown; did you mean weight\?$"):
        parse_config(Apple, {"wieght": 4}, where="fruit.yaml")


class Plum(Config):
    kind: Literal["plum"] = "plum"
    colour: Literal["blue", "pear"] = "blue"


class Pot(Config):
    apple: str = ""
    size: int = 1


class Pan(Config):
    width: int = 1


class Basket(Config):
    fruits: dict[str, Annotated[Apple | Pear | Plum, Field(discriminator="kind")]]
    best: Annotated[Apple | None, Field()] = None
    row: tuple[Fruit, ...] = ()
    inside: Pot | Pan = Pot()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"fruits": {"a": {"kind": "pear", "colour": 1}}}, "fruits.a.pear.colour: unknown, expected one of kind"),
        ({"fruits": {}, "best": {"weigt": 1}}, "best.weigt: unknown; did you mean weight?"),
        ({"fruits": {"a": {}}}, "fruits.a: found no 'kind', expected one"),
        (
            {"fruits": {"a": "pear"}},
            "fruits.a: found 'pear', expected a mapping of names to values",
        ),
        ({"fruits": {"a": {"kind": "pear", "colour": "x"}}}, "fruits.a.pear.colour: unknown, expected one of kind"),
        ({"fruits": {}, "row": [{"kind": "apple", "waight": 2}]}, "row.0.apple.waight: unknown; did you mean weight?"),
        ({"fruits": {}, "inside": {"widht": 1}}, "inside.widht: unknown; did you mean width?"),
        ({"fruits": {}, "inside": {"widht": 1}}, "inside.widht: unknown, expected one of apple, size"),
        ({"fruits": {}, "best": 3}, "best: found 3, expected a mapping of names to values"),
    ],
)
def test_a_message_has_the_path_and_what_was_expected(values: object, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Basket, values, where="basket.yaml")
    assert expected in str(caught.value)


def test_all_problems_come_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(Apple, {"weight": 0, "name": 7}, where="fruit.yaml")
    message = str(caught.value)
    assert message.startswith("fruit.yaml: ")
    assert "weight: " in message
    assert "name: " in message
    assert "\n" not in message


def test_a_choice_and_its_options_are_one_object() -> None:
    assert parse_config(Fruit, {"kind": "apple", "weight": 9}, where="x") == Apple(weight=9)
    with pytest.raises(ConfigError, match="weight"):
        parse_config(Fruit, {"kind": "pear", "weight": 9}, where="x")
    with pytest.raises(ConfigError, match=r"x: .*'plum'.*'apple', 'pear'"):
        parse_config(Fruit, {"kind": "plum"}, where="x")


@pytest.mark.parametrize("weight", [float("inf"), float("nan"), ".inf"])
def test_non_finite_numbers_are_refused(weight: object) -> None:
    values = overrides([f"weight={weight}"]) if isinstance(weight, str) else {"weight": weight}
    with pytest.raises(ConfigError, match="finite number"):
        parse_config(Apple, values, where="x")


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Apple().weight = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=16", 16),
        ("a=.1", 0.1),
        ("a=1e-3", 0.001),
        ("a=true", True),
        ("a=null", None),
        ("a=[1, 2]", [1, 2]),
        ("a=x=y", "x=y"),
        ("a=", None),
        ("a=words", "words"),
    ],
)
def test_override_values_are_yaml_with_exponents(pair: str, value: object) -> None:
    values = overrides([pair])
    assert values == {"a": value}
    assert type(values["a"]) is type(value)


@pytest.mark.parametrize("pair", ["candidates", "=3", ""])
def test_an_override_without_a_name_or_value_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=VALUE, for example candidates=16"):
        overrides([pair])


def test_broken_yaml_in_an_override_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"'a=\[1' has no readable value") as caught:
        overrides(["a=[1"])
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=12))
def test_no_override_raises_anything_else(text: str) -> None:
    try:
        assert list(overrides([f"a={text}"])) == ["a"]
    except ConfigError as error:
        assert "a=" in str(error)  # noqa: PT017 - whether it raises depends on the text


def test_a_written_config_reads_back_in_the_order_of_its_fields(tmp_path: Path) -> None:
    write_yaml(tmp_path / "c.yaml", Apple(weight=5, name="Gräfin"))
    values = yaml.safe_load((tmp_path / "c.yaml").read_text(encoding="utf-8"))
    assert list(values) == ["kind", "weight", "name"]
    assert parse_config(Apple, values, where="x") == Apple(weight=5, name="Gräfin")


def test_merged_yaml_mappings_are_no_repeated_keys(tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: *a, y: 4}\n", encoding="utf-8")
    assert read_yaml(path) == ({"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 4}}, [])
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 3, y: 4}\n", encoding="utf-8")
    assert read_yaml(path)[1] == ["found 'y' twice in the mapping of line 2, expected once; rename one"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 100_000, "more than 50 levels"),
        ("a: &a [*a]", "more than 1,000,000 values"),
        (
            "a: &a " + "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [" + "*a, " * 400 + "]\nc: [" + "*b, " * 400 + "]",
            "unfold",
        ),
        ("a: 2020-99-99", "is not valid YAML"),
        ("a: " + "9" * 5000, "is not valid YAML"),
        ("a: \0", "is not valid YAML"),
    ],
)
def test_absurd_yaml_is_refused_before_it_takes_time_or_memory(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "a.yaml")


def test_aliases_of_ordinary_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: &x {a: 1}\ny: [" + "*x, " * 300 + "]\nz: {<<: *x, b: 2}")
    values, _ = read_yaml(tmp_path / "a.yaml")
    assert len(values["y"]) == 300
    assert values["z"] == {"a": 1, "b": 2}


def test_a_message_of_a_whole_configuration_has_no_prefix() -> None:
    with pytest.raises(ConfigError, match=r"^split: train \+ valid \+ test is 1\.1, expected 1$"):
        parse_config(SplitConfig, {"train": 0.9, "valid": 0.1, "test": 0.1}, where="split")
