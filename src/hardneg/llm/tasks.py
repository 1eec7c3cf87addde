"""One question with its row and the reading of its reply, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hardneg.llm.protocol import Reply, Request

T = TypeVar("T")


class BadReply(Exception):  # noqa: N818 - it happened to a reply; it is no error of the user
    """A reply that cannot be used; reason: one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Task(Generic[T]):
    """A request, the row that it belongs to, and how its reply is read (raises BadReply)."""

    row: int
    request: Request
    parse: Callable[[Reply], T]


@dataclass(frozen=True)
class TaskAnswer(Generic[T]):
    """What became of a task: a value, or None with the reason; reply: the last one; calls: calls made for it now."""

    row: int
    value: T | None
    reason: str = ""
    reply: Reply | None = None
    calls: int = 0
