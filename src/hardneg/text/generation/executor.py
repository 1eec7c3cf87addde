"""What text needs of a language model: to have questions answered, and three facts about the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from hardneg.llm.protocol import Reply, Request
from hardneg.llm.tasks import Task, TaskAnswer

T = TypeVar("T")


class LlmExecutor(Protocol):
    """Has tasks answered, in any order, one answer a task; `hardneg.llm.engine.scheduler.ask` with its model, store and limits.

    total: how many tasks there will be, for progress.
    """

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Yield an answer for every task."""
        ...


class ModelInfo(Protocol):
    """What making prompts needs to know of a model; every ChatModel is one."""

    @property
    def name(self) -> str:
        """What to call it in tables."""
        ...

    @property
    def context_length(self) -> int | None:
        """Tokens that a prompt and its answer may have together; None where unknown."""
        ...

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Strings that untrusted text must not hold."""
        ...

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt."""
        ...


@dataclass
class TokenUsage:
    """What one run of an asker took: replies read, and their tokens as the model counted them."""

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0


@dataclass
class MeteredExecutor:
    """An asker that adds up the replies that pass through it: `runs` has a sum for each time that it was called.

    Every reply counts that was read for a row, bad ones and stored ones too: what the job takes as a whole, whoever
    paid for it and when. (The engine's own books have what was paid now.) Writing profiles calls it twice, for items and
    users; naming negatives twice too, for the calls and for what is asked again singly.
    """

    asker: LlmExecutor
    runs: list[TokenUsage] = field(default_factory=list)

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Pass every answer on."""
        run = TokenUsage()
        self.runs.append(run)

        def hear(_: Task[T], reply: Reply) -> None:
            run.calls += 1
            run.prompt_tokens += reply.usage.prompt_tokens
            run.answer_tokens += reply.usage.answer_tokens

        return self.asker(observe_replies(tasks, hear), total)


def observe_replies(tasks: Iterable[Task[T]], hear: Callable[[Task[T], Reply], None]) -> Iterator[Task[T]]:
    """The same tasks, whose parsers report every reply that they are given before they read it."""

    def listening(task: Task[T]) -> Callable[[Reply], T]:
        def parse(reply: Reply) -> T:
            hear(task, reply)
            return task.parse(reply)

        return parse

    return (replace(task, parse=listening(task)) for task in tasks)
