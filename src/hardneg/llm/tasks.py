"""Tasks for a language model and their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hardneg.llm.protocol import Reply, Request

T = TypeVar("T")


class BadReply(Exception):  # noqa: N818 - concerns a reply, not the user's input
    """An unusable reply; reason: one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Task(Generic[T]):
    """A request, its row, and the parser of its reply, which raises BadReply."""

    row: int
    request: Request
    parse: Callable[[Reply], T]


@dataclass(frozen=True)
class TaskAnswer(Generic[T]):
    """Result of a task: a value, or None with a reason; reply: the last one; calls: number of calls made in this run."""

    row: int
    value: T | None
    reason: str = ""
    reply: Reply | None = None
    calls: int = 0
