"""Queues of two processes on one store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.llm.function_model import FunctionModel

from hardneg.llm.engine.queue import Attempt, TaskQueue
from hardneg.llm.engine.store import Failure, ReplyStore
from hardneg.llm.protocol import Message, Reply, Request, Task, TaskAnswer, Usage
from hardneg.llm.usage import UsageStats

MODEL = FunctionModel(lambda request: "unused")
FINE = Reply("fine", Usage(1, 1))


def new_queue(store: ReplyStore) -> tuple[TaskQueue, list[TaskAnswer[Any]]]:
    answers: list[TaskAnswer[Any]] = []
    return TaskQueue(MODEL, store, 2, UsageStats(), answers.append), answers


def tasks(*rows: int) -> list[Task[str]]:
    return [Task(row, Request((Message("user", f"row {row}"),), 5), lambda reply: reply.text) for row in rows]


def test_queue_waits_for_requests_claimed_by_another(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "s") as first_store, ReplyStore(tmp_path / "s") as second_store:
        (first, answers), (second, others) = new_queue(first_store), new_queue(second_store)
        first.add(tasks(*range(6)))
        second.add(tasks(*range(6)))
        taken = first.take(4)
        others_taken = second.take(4)
        assert (len(taken), len(others_taken)) == (4, 2), "the second skips what the first has claimed"
        assert second.claimed_elsewhere
        second.recheck_claimed()
        assert second.take(9) == []
        assert second.claimed_elsewhere
        first.save([(attempt, FINE) for attempt in taken])
        second.save([(attempt, Failure("failed", "gone")) for attempt in others_taken])
        second.recheck_claimed()
        assert second.take(9) == []
        assert not second.claimed_elsewhere
        assert first.take(9) == [], "failed in the other process: not sent again"
        assert [
            (answer.row, answer.value, answer.reason) for answer in sorted(answers, key=lambda answer: answer.row)
        ] == [
            *((row, "fine", "") for row in range(4)),
            *((row, None, "gone") for row in (4, 5)),
        ]
        assert sorted(answer.row for answer in others) == list(range(6))
        assert len(first) == len(second) == 0


def test_released_claims_are_taken_over(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "s") as first_store, ReplyStore(tmp_path / "s") as second_store:
        (first, _), (second, others) = new_queue(first_store), new_queue(second_store)
        first.add(tasks(1, 2))
        second.add(tasks(1, 2))
        first.take(2)
        assert second.take(2) == []
        first.store.release(first.owner)
        second.recheck_claimed()
        attempts = second.take(2)
        assert len(attempts) == 2
        second.save([(attempt, FINE) for attempt in attempts])
        assert len(others) == 2


def test_task_joins_an_equal_request_in_flight(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "s") as store:
        first, answers = new_queue(store)
        first.add(tasks(1))
        (attempt,) = first.take(5)
        attempt.calls = 1
        first.add([Task(7, attempt.request, lambda reply: reply.text.upper())])
        assert first.take(5) == []
        first.save([(attempt, FINE)])
        assert [(answer.row, answer.value, answer.calls) for answer in answers] == [(1, "fine", 1), (7, "FINE", 0)]


def test_take_skips_requests_claimed_by_others(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "s") as first_store, ReplyStore(tmp_path / "s") as second_store:
        (first, _), (second, _) = new_queue(first_store), new_queue(second_store)
        first.add(tasks(*range(50)))
        first.take(50)
        second.add(tasks(*range(51)))
        (attempt,) = second.take(4)
        assert isinstance(attempt, Attempt)
        assert attempt.request.messages[0].content == "row 50"


def test_counts_of_earlier_versions_that_cannot_be_right_are_estimated(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "s") as store:
        first, _ = new_queue(store)
        first.add(tasks(1, 2))
        replies = [Reply("a reply", Usage(-1, -1)), Reply("another", Usage(0, 0))]
        first.save(list(zip(first.take(2), replies, strict=True)))
        second, answers = new_queue(store)
        second.add(tasks(1, 2))
        assert [answer.reply.usage for answer in answers if answer.reply] == [Usage(2, 2, estimated=True)] * 2
