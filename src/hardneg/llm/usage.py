"""Token prices, from a dated list that comes with the package or a user's file, and the usage of a run."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import NonNegativeFloat

from hardneg.config import Config, parse_config, read_yaml
from hardneg.errors import ConfigError
from hardneg.llm.protocol import Usage

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


@dataclass
class UsageStats:
    """Counts of a run so far.

    rows: finished rows, of which `failed` have no value and `stored` needed no call of this process. total: number of
    rows, None if unknown. calls: calls sent, of which `retries` repeated a failed call. repairs: repair requests sent
    after unusable replies. bad: unusable replies, stored ones included. Tokens are as reported by the model, or
    estimated for `estimated` replies; estimate_reason: why. money: US dollars, None without a price. seconds: since the
    start. failures: reasons of failed calls, refusals and unusable replies, and how often. notices: lines for the user.
    """

    rows: int = 0
    failed: int = 0
    stored: int = 0
    total: int | None = None
    calls: int = 0
    retries: int = 0
    repairs: int = 0
    bad: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_tokens: int = 0
    money: float | None = None
    seconds: float = 0.0
    estimated: int = 0
    estimate_reason: str = ""
    failures: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Rows per second that were not in the store; if all were, stored rows per second."""
        return ((self.rows - self.stored) or self.rows) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining seconds; None if the total or the rate is unknown."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.rows) / self.rate

    def add(self, usage: Usage, price: Price | None) -> float:
        """Count the tokens of a reply; returns its cost in dollars, 0 without a price."""
        self.prompt_tokens += usage.prompt_tokens
        self.answer_tokens += usage.answer_tokens
        self.cached_tokens += usage.cached_tokens
        self.estimated += usage.estimated
        self.estimate_reason = self.estimate_reason or usage.reason
        if price is None:
            return 0.0
        dollars = price.cost(usage.prompt_tokens, usage.answer_tokens, usage.cached_tokens)
        self.money = (self.money or 0.0) + dollars
        return dollars

    def count_failure(self, reason: str, row: int, remedy: str) -> None:
        """Count a failed call, a refusal or an unusable reply; the first one becomes a notice at once."""
        if not self.failures:
            self.notices.append(f"first failure: {reason} (row {row}); {remedy}")
        self.failures[reason if reason in self.failures or len(self.failures) < MAX_REASONS else OTHER_REASONS] += 1

    def describe_failures(self) -> str:
        """Return the most frequent reasons of failures with their counts, "" for none or a single failure."""
        if self.failures.total() < 2:
            return ""
        shown = [f"{count:,} times {reason}" for reason, count in self.failures.most_common(SHOWN_REASONS)]
        others = self.failures.total() - sum(count for _, count in self.failures.most_common(SHOWN_REASONS))
        return "failures: " + "; ".join([*shown, *([f"{others:,} others"] if others else [])])

    def __add__(self, other: UsageStats) -> UsageStats:
        """Sum of two runs; totals are unknown."""
        added = {name: getattr(self, name) + getattr(other, name) for name in vars(self) if name not in UNSUMMED}
        no_money = self.money is None and other.money is None
        return UsageStats(
            **added,
            money=None if no_money else (self.money or 0.0) + (other.money or 0.0),
            estimate_reason=self.estimate_reason or other.estimate_reason,
            notices=list(dict.fromkeys(self.notices + other.notices)),
        )

    def __str__(self) -> str:
        """One line: "12,345/100,000 rows, 12 failed, 210/s, 1.2M tokens (2.1k prompt, 420 answer/s), 7 min left"."""
        parts = [f"{self.rows:,}{'' if self.total is None else f'/{self.total:,}'} rows"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.rate:,.0f}/s" if self.rate >= 10 else f"{self.rate:.2g}/s"]
        tokens = (
            f"{_format_count(self.prompt_tokens + self.answer_tokens)} tokens{' (estimated)' * bool(self.estimated)}"
        )
        parts += [tokens + self._token_rates()]
        parts += [f"${self.money:,.2f}"] if self.money is not None else []
        parts += [f"{format_seconds(self.seconds_left)} left"] if self.seconds_left is not None else []
        return ", ".join(parts)

    def _token_rates(self) -> str:
        """Return the prompt and answer tokens per second, "" before the first call."""
        if not self.seconds or not self.prompt_tokens:
            return ""
        prompt, answer = (round(tokens / self.seconds) for tokens in (self.prompt_tokens, self.answer_tokens))
        return f" ({_format_count(prompt)} prompt, {_format_count(answer)} answer/s)"


UNSUMMED = ("total", "money", "estimate_reason", "notices")
MAX_REASONS, SHOWN_REASONS = 100, 3
"""Maximum number of reasons of failures that are counted apart, and that are shown."""
OTHER_REASONS = "for other reasons"


def _format_count(number: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return str(number)


def format_seconds(seconds: float) -> str:
    """Return a time in its largest unit: "12 s", "7 min" or "2 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
