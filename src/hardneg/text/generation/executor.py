"""The interface for sending tasks to a language model, and token usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field

from hardneg.llm.protocol import Reply, Task, TaskAnswer

T = TypeVar("T")
AnswerFactor = Annotated[float, Field(ge=0.1, le=100)]
"""Setting of a stage: factor on the maximum tokens of an answer.

Below 1 it ends answers early of a small model that repeats itself, which constrained decoding still closes as JSON."""


class LlmExecutor(Protocol):
    """Sends tasks to a language model; one implementation is `hardneg.llm.session.Session`."""

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Yield one answer per task, in any order. total: number of tasks, for progress."""
        ...


@dataclass
class TokenUsage:
    """Number of replies and their tokens, as the model counted them."""

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0


@dataclass
class MeteredExecutor:
    """An executor that counts the replies of every call; `runs` has one TokenUsage per call of the executor.

    Counts every reply, bad and stored ones included: the usage of the job as a whole, whether or not this run paid for
    it. (The session counts what this run paid for.) Generating profiles makes two calls, for items and users;
    generating negatives makes one, and another for follow-ups.
    """

    executor: LlmExecutor
    runs: list[TokenUsage] = field(default_factory=list)

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Yield the answers of the wrapped executor."""
        usage = TokenUsage()
        self.runs.append(usage)

        def count(_: Task[T], reply: Reply) -> None:
            usage.calls += 1
            usage.prompt_tokens += reply.usage.prompt_tokens
            usage.answer_tokens += reply.usage.answer_tokens

        return self.executor(observe_replies(tasks, count), total)


def explain_missing(answer: TaskAnswer[Any], setting: str) -> str:
    """Return why a task has no value. setting: name of the AnswerFactor that allows longer answers."""
    cut = answer.reply is not None and answer.reply.finish == "length"
    return f"{answer.reason} (--set {setting}=4 raises the limit)" if cut else answer.reason


def observe_replies(tasks: Iterable[Task[T]], observe: Callable[[Task[T], Reply], None]) -> Iterator[Task[T]]:
    """Yield the same tasks with parsers that first pass every reply to `observe`."""

    def with_observer(task: Task[T]) -> Task[T]:
        def parse(reply: Reply) -> T:
            observe(task, reply)
            return task.parse(reply)

        return replace(task, parse=parse)

    return map(with_observer, tasks)
