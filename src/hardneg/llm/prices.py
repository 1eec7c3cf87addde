"""Token prices: a dated list that comes with the package, overridden by a user's file."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import NonNegativeFloat

from hardneg.config import Config, parse_config, read_yaml
from hardneg.errors import ConfigError

MILLION = 1e6
LOCAL = "hf:"
DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


class Price(Config):
    """US dollars per million tokens."""

    prompt: NonNegativeFloat
    """Price of prompt tokens that are not cached."""
    answer: NonNegativeFloat = 0.0
    """Price of answer tokens; 0 for embeddings."""
    cached: NonNegativeFloat | None = None
    """Price of cached prompt tokens; None for the price of the others."""

    def cost(self, prompt_tokens: float, answer_tokens: float, cached_tokens: float = 0.0) -> float:
        """Return the cost in dollars; cached tokens are part of the prompt tokens."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt + cached_tokens * cached + answer_tokens * self.answer) / MILLION


FREE = Price(prompt=0.0)
"""Price of a model on the user's machine."""


class PriceList(Config):
    """A file of prices by model name."""

    date: str = ""
    """Month or day of the list."""
    note: str = ""
    models: dict[str, Price]


def find_price(name: str, own: Path | None = None) -> Price | None:
    """Return the price of a model, None if unknown.

    name: the provider's name, with or without "openai:"; a list may omit a date at its end ("-2024-07-18"). Models in
    this process ("hf:...") are free. own: the user's list, which takes precedence.
    """
    bare = name.removeprefix("openai:")
    for prices in ([read_prices(own)] if own else []) + [packaged_prices()]:
        for known in (name, bare, DATED.sub("", bare)):
            if known in prices.models:
                return prices.models[known]
    return FREE if name.startswith(LOCAL) else None


@cache
def packaged_prices() -> PriceList:
    """Return the list that comes with the package."""
    return read_prices(Path(str(files("hardneg.llm") / "prices.yaml")))


def read_prices(path: Path) -> PriceList:
    """Read a list of prices. Raises ConfigError for an invalid file."""
    try:
        values, repeated = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}, expected a YAML list of prices; check the path") from None
    if repeated:
        raise ConfigError(f"{path}: {'; '.join(repeated)}")
    prices: PriceList = parse_config(PriceList, values, where=str(path))
    return prices
