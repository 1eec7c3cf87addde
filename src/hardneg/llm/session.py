"""One language model with its store, limits and a budget over everything that is sent to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.scheduler import answer_tasks
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.engine.usage_stats import UsageStats
from hardneg.llm.prices import Price
from hardneg.llm.protocol import ChatModel
from hardneg.llm.tasks import Task, TaskAnswer

T = TypeVar("T")


@dataclass
class Session:
    """Runs tasks on one model; an `LlmExecutor` of the text package.

    watch: called with a description of the activity and the usage of the current call. usage: sum over all calls of
    this session. The budget of `config` covers all of them together, so item profiles leave less for user profiles.
    """

    model: ChatModel
    store: ReplyStore
    config: EngineConfig = field(default_factory=EngineConfig)
    price: Price | None = None
    watch: Callable[[str, UsageStats], None] | None = None
    usage: UsageStats = field(default_factory=UsageStats)
    activity: str = "querying"

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Yield an answer for every task; raises the errors of `answer_tasks`."""
        latest = UsageStats()

        def record(usage: UsageStats) -> None:
            nonlocal latest
            latest = usage
            if self.watch is not None:
                self.watch(f"{self.activity} {self.model.name}", usage)

        config = self._config_with_remaining_budget()
        try:
            yield from answer_tasks(tasks, self.model, self.store, config, prices=self.price, total=total, watch=record)
        finally:
            self.usage += latest

    def costs(self) -> dict[str, Any]:
        """Return the usage of this session for a costs.json."""
        usage = self.usage
        return {
            "seconds": round(usage.seconds, 3),
            "llm_calls": usage.calls,
            "llm_rows": usage.rows,
            "llm_rows_from_the_store": usage.stored,
            "llm_rows_failed": usage.failed,
            "llm_prompt_tokens": usage.prompt_tokens,
            "llm_answer_tokens": usage.answer_tokens,
            "llm_tokens": usage.prompt_tokens + usage.answer_tokens,
            "money": usage.money,
        }

    def _config_with_remaining_budget(self) -> EngineConfig:
        spent = {
            "budget_calls": self.usage.calls,
            "budget_tokens": self.usage.prompt_tokens + self.usage.answer_tokens,
            "budget_money": self.usage.money or 0.0,
        }
        limits = {name: getattr(self.config, name) for name in spent}
        left = {name: max(0, limit - spent[name]) for name, limit in limits.items() if limit is not None}
        return self.config.model_copy(update=left)
