"""How far a run is: rows, calls, tokens, money, rate and time left."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hardneg.llm.prices import Price
from hardneg.llm.protocol import Usage


@dataclass(frozen=True)
class UsageStats:
    """A run at one moment.

    rows: finished, of which failed have no value and stored cost no call, since they were answered before (or beside
    us). total: None where the caller did not say. calls: sent, of which retries repeated a failed call. re_asks: requests
    that were asked again after a bad reply. bad: bad replies, the stored ones too. waits_cut: how often a server asked for a
    longer pause than is allowed. Tokens as the model counted them; money: dollars, None without a price. seconds: since
    the start.
    """

    rows: int = 0
    failed: int = 0
    stored: int = 0
    total: int | None = None
    calls: int = 0
    retries: int = 0
    repairs: int = 0
    bad: int = 0
    waits_cut: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_tokens: int = 0
    money: float | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Rows a second that were not in the store; where all were, of those."""
        return ((self.rows - self.stored) or self.rows) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At that rate; None where total or rate are unknown."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.rows) / self.rate

    def __str__(self) -> str:
        """In one line: "12,345/100,000 rows, 12 failed, 210/s, 1.2M tokens, $0.41, 7 min left"."""
        parts = [f"{self.rows:,}{'' if self.total is None else f'/{self.total:,}'} rows"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.rate:,.0f}/s" if self.rate >= 10 else f"{self.rate:.2g}/s"]
        parts += [f"{_short(self.prompt_tokens + self.answer_tokens)} tokens"]
        parts += [f"${self.money:,.2f}"] if self.money is not None else []
        parts += [f"{_span(self.seconds_left)} left"] if self.seconds_left is not None else []
        return ", ".join(parts)


class UsageCounter:
    """What a run counts while it goes on; fields as in Tally."""

    def __init__(self, total: int | None, price: Price | None) -> None:
        self.total, self.price = total, price
        self.rows = self.failed = self.stored = self.calls = self.retries = self.repairs = self.bad = self.waits_cut = 0
        self.prompt_tokens = self.answer_tokens = self.cached_tokens = 0
        self.money = 0.0 if price else None
        self._start = time.monotonic()

    def spend(self, usage: Usage) -> float:
        """A reply took these tokens; returns its dollars, 0 without a price."""
        self.prompt_tokens += usage.prompt_tokens
        self.answer_tokens += usage.answer_tokens
        self.cached_tokens += usage.cached_tokens
        if self.price is None or self.money is None:
            return 0.0
        dollars = self.price.cost(usage.prompt_tokens, usage.answer_tokens, usage.cached_tokens)
        self.money += dollars
        return dollars

    def now(self) -> UsageStats:
        """A snapshot."""
        values = {name: value for name, value in vars(self).items() if name in UsageStats.__dataclass_fields__}
        return UsageStats(**values, seconds=time.monotonic() - self._start)


def _short(number: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return str(number)


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
