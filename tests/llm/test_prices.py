"""Prices: the packaged list, a user's list, unknown models."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardneg.errors import ConfigError
from hardneg.llm.usage import FREE, Price, find_price, packaged_prices


def test_cost_of_tokens() -> None:
    price = Price(prompt=2, cached=0.5, answer=10)
    assert price.cost(1_000_000, 100_000) == pytest.approx(3)
    assert price.cost(1_000_000, 0, 400_000) == pytest.approx(1.2 + 0.2)
    assert Price(prompt=2).cost(1_000_000, 5, 400_000) == pytest.approx(2), "cached tokens cost the same by default"


def test_packaged_list_has_a_date_and_plausible_prices() -> None:
    prices = packaged_prices()
    assert prices.date == "2026-11"
    assert {"gpt-4o-mini", "text-embedding-ada-002"} <= prices.models.keys()
    for price in prices.models.values():
        assert 0 < price.prompt < 100
        assert price.cached is None or price.cached < price.prompt
        assert price.answer == 0 or price.answer >= price.prompt


def test_provider_and_date_in_names() -> None:
    known = packaged_prices().models["gpt-4o-mini"]
    assert (
        find_price("gpt-4o-mini") == find_price("openai:gpt-4o-mini") == find_price("gpt-4o-mini-2024-07-18") == known
    )
    assert find_price("gpt-4o-mini-audio") is None
    assert find_price("something") is None
    assert find_price("hf:Qwen/Qwen2.5-7B-Instruct") == FREE


def test_own_list_takes_precedence(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text("models:\n  gpt-4o-mini: {prompt: 9}\n  mine: {prompt: 1, answer: 2}\n  hf:rented: {prompt: 3}\n")
    assert find_price("openai:gpt-4o-mini", own) == Price(prompt=9)
    assert find_price("mine", own) == Price(prompt=1, answer=2)
    assert find_price("hf:rented", own) == Price(prompt=3)
    assert find_price("gpt-4o", own) == find_price("gpt-4o")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {a: {prompt: -1}}", "models.a.prompt: Input should be greater than or equal to 0"),
        ("models: {a: {answer: 1}}", "models.a.prompt: Field required"),
        ("prices: {}", "models: Field required"),
        ("- 1", "found .1., expected a mapping of names to values"),
        ("models:\n  a: {prompt: 1}\n  a: {prompt: 2}", "'a' twice"),
        ("{", "YAML"),
    ],
)
def test_error_names_an_invalid_list(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"p.yaml.*{message}"):
        find_price("a", tmp_path / "p.yaml")
    with pytest.raises(ConfigError, match=r"absent.yaml: No such file.*, expected a YAML list of prices"):
        find_price("a", tmp_path / "absent.yaml")
