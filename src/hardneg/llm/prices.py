"""What tokens cost: list prices in a dated file, which a file of the user's own overrides."""

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
    """Of the prompt, where the model has not cached it."""
    answer: NonNegativeFloat = 0.0
    """Of the answer; an embedding has none."""
    cached: NonNegativeFloat | None = None
    """Of the cached part of a prompt; None for the same as the rest."""

    def cost(self, prompt_tokens: float, answer_tokens: float, cached_tokens: float = 0.0) -> float:
        """Dollars for so many tokens; cached tokens are part of the prompt's."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt + cached_tokens * cached + answer_tokens * self.answer) / MILLION


FREE = Price(prompt=0.0)
"""Of a model that runs on one's own machine."""


class PriceList(Config):
    """A file of prices."""

    date: str = ""
    """The month or day that they were valid on."""
    note: str = ""
    models: dict[str, Price]


def find_price(name: str, own: Path | None = None) -> Price | None:
    """The price of a model by its name, None where it is unknown.

    name: as the provider calls it, "openai:" before it or not; a date at its end ("-2024-07-18") may be left out of
    the list. Models in this process ("hf:...") are free. own: a list of the user's, which goes before ours.
    """
    bare = name.removeprefix("openai:")
    for prices in ([read_prices(own)] if own else []) + [packaged_prices()]:
        for known in (name, bare, DATED.sub("", bare)):
            if known in prices.models:
                return prices.models[known]
    return FREE if name.startswith(LOCAL) else None


@cache
def packaged_prices() -> PriceList:
    """The list that comes with the package, with its date."""
    return read_prices(Path(str(files("hardneg.llm") / "prices.yaml")))


def read_prices(path: Path) -> PriceList:
    """Read a list of prices; ConfigError where it is none."""
    try:
        values, repeated = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}, expected a YAML list of prices; check the path") from None
    if repeated:
        raise ConfigError(f"{path}: {'; '.join(repeated)}")
    prices: PriceList = parse_config(PriceList, values, where=str(path))
    return prices
