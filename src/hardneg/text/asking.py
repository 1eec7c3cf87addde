"""What text needs of a language model: to have questions answered, and three facts about the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hardneg.llm.protocol import Request
from hardneg.llm.tasks import Answer, Task

T = TypeVar("T")


class Asker(Protocol):
    """Has tasks answered, in any order, one answer a task; `hardneg.llm.engine.ask` with its model, store and limits.

    total: how many tasks there will be, for progress.
    """

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[Answer[T]]:
        """Yield an answer for every task."""
        ...


class ModelView(Protocol):
    """What making prompts needs to know of a model; every ChatModel is one."""

    @property
    def name(self) -> str:
        """What to call it in tables."""
        ...

    @property
    def foreign(self) -> tuple[str, ...]:
        """Strings that untrusted text must not hold."""
        ...

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt."""
        ...


@dataclass
class Tally:
    """An asker that adds up what the answers that pass through it cost.

    Counts the last reply of every row, whether it came from the store or from the model. What was asked more than once
    is counted once here; the engine's own books have every call.
    """

    asker: Asker
    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[Answer[T]]:
        """Pass every answer on, counted."""
        for answer in self.asker(tasks, total):
            if answer.reply is not None:
                self.calls += 1
                self.prompt_tokens += answer.reply.usage.prompt_tokens
                self.answer_tokens += answer.reply.usage.answer_tokens
            yield answer
