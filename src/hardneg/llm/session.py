"""A language model at work: its store, its limits, and one budget over all that is asked through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.scheduler import run_tasks
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.engine.usage_stats import UsageStats
from hardneg.llm.prices import Price
from hardneg.llm.protocol import ChatModel
from hardneg.llm.tasks import Task, TaskAnswer

T = TypeVar("T")
SUMMED = (
    "rows",
    "failed",
    "stored",
    "calls",
    "retries",
    "repairs",
    "bad",
    "prompt_tokens",
    "answer_tokens",
    "cached_tokens",
)


@dataclass
class Session:
    """Has tasks answered by one model; a call of it is an `Asker` of the text room.

    watch: called with what is being done and the tally of that. whole: what all calls of this session took so far; the
    budget of `config` is for all of them together, so the items' profiles leave less for the users'.
    """

    model: ChatModel
    store: ReplyStore
    config: EngineConfig = field(default_factory=EngineConfig)
    price: Price | None = None
    watch: Callable[[str, UsageStats], None] | None = None
    usage: UsageStats = field(default_factory=UsageStats)
    activity: str = "querying"

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Yield an answer for every task; raises what `run_tasks` raises."""
        last = UsageStats()

        def see(tally: UsageStats) -> None:
            nonlocal last
            last = tally
            if self.watch is not None:
                self.watch(f"{self.activity} {self.model.name}", tally)

        try:
            yield from run_tasks(
                tasks, self.model, self.store, self._config_left(), prices=self.price, total=total, watch=see
            )
        finally:
            self.usage = _sum(self.usage, last)

    def costs(self) -> dict[str, Any]:
        """What this session took, for a costs.json."""
        whole = self.usage
        return {
            "seconds": round(whole.seconds, 3),
            "llm_calls": whole.calls,
            "llm_rows": whole.rows,
            "llm_rows_from_the_store": whole.stored,
            "llm_rows_failed": whole.failed,
            "llm_prompt_tokens": whole.prompt_tokens,
            "llm_answer_tokens": whole.answer_tokens,
            "llm_tokens": whole.prompt_tokens + whole.answer_tokens,
            "money": whole.money,
        }

    def _config_left(self) -> EngineConfig:
        """The settings with what is left of the budget."""
        spent = {
            "budget_calls": self.usage.calls,
            "budget_tokens": self.usage.prompt_tokens + self.usage.answer_tokens,
            "budget_money": self.usage.money or 0.0,
        }
        left = {name: getattr(self.config, name) for name in spent}
        return self.config.model_copy(
            update={name: max(0, most - spent[name]) for name, most in left.items() if most is not None}
        )


def _sum(a: UsageStats, b: UsageStats) -> UsageStats:
    money = None if a.money is None and b.money is None else (a.money or 0.0) + (b.money or 0.0)
    counts = {name: getattr(a, name) + getattr(b, name) for name in SUMMED}
    return UsageStats(**counts, money=money, seconds=a.seconds + b.seconds)
