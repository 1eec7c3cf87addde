"""Runs over models defined by functions, with a virtual clock: what is sent, when, how often, and what is stored."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.engine.stored import stored_failures, stored_replies
from tests.llm.engine.virtual_loop import VirtualLoop
from tests.llm.function_model import FunctionModel

from hardneg.errors import ConfigError
from hardneg.llm import session as engine
from hardneg.llm.engine.admission import BudgetReached
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import (
    BadReply,
    CallFailed,
    LlmError,
    Message,
    Refusal,
    Reply,
    Request,
    Task,
    TaskAnswer,
    Usage,
)
from hardneg.llm.session import answer_tasks
from hardneg.llm.usage import Price, UsageStats


class Model(FunctionModel):
    """Like FunctionModel, with awaitable answers; `calls` holds (seconds, number of requests) of every call."""

    def __init__(self, answer: Callable[[Request], Any], **settings: Any) -> None:
        super().__init__(answer, **settings)
        self.calls: list[tuple[float, int]] = []
        self.at_once = self.most_at_once = 0

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        self.calls.append((asyncio.get_running_loop().time(), len(requests)))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.requests += requests
        try:
            await asyncio.sleep(0)
            return [await self._answer_to(make_request) for make_request in requests]
        finally:
            self.at_once -= 1

    async def _answer_to(self, make_request: Request) -> Reply | Refusal:
        answer: Any = self._answer(make_request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, str):
            return Reply(answer, Usage(self.count_tokens(make_request), len(answer.split())))
        return answer

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.calls]


def make_request(text: str, **settings: Any) -> Request:
    return Request((Message("user", text),), **({"max_tokens": 5} | settings))


def tasks(n: int, parse: Callable[[Reply], Any] = lambda reply: reply.text, first: int = 0) -> list[Task[Any]]:
    return [Task(row, make_request(f"row {row}"), parse) for row in range(first, first + n)]


def number(request: Request) -> int:
    """Return the row of a request."""
    return int(request.messages[-1].content.split()[1])


def repair_number(request: Request) -> int:
    """Return the number of the repair, 0 for an original request."""
    return int(request.messages[-1].content.partition("Answer number ")[2].partition(" ")[0] or 0)


def run(task_list: Any, model: Any, store: ReplyStore, **settings: Any) -> dict[int, TaskAnswer[Any]]:
    """Return all answers by row."""
    answers = list(start(task_list, model, store, **settings))
    assert len({answer.row for answer in answers}) == len(answers)
    return {answer.row: answer for answer in answers}


def start(task_list: Any, model: Any, store: ReplyStore, **settings: Any) -> Iterator[TaskAnswer[Any]]:
    config = {name: settings.pop(name) for name in list(settings) if name in EngineConfig.model_fields}
    return answer_tasks(
        task_list, model, store, EngineConfig(**config), rng=Random(0), loop_factory=VirtualLoop, **settings
    )


def no_thread_is_left() -> bool:
    return not any(thread.name == "hardneg-llm" for thread in threading.enumerate())


def claims(store: ReplyStore) -> int:
    return int(store._db.execute("SELECT count(*) FROM claims").fetchone()[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReplyStore]:  # type: ignore[override]
    with ReplyStore(tmp_path / "replies.sqlite") as opened:
        yield opened
        assert no_thread_is_left()
        assert claims(opened) == 0


@pytest.fixture
def echo() -> Model:
    return Model(lambda request: f"says {request.messages[-1].content}")


class TestAnswerTasks:
    def test_every_row_is_answered_once_and_a_second_run_sends_nothing(self, store: ReplyStore, echo: Model) -> None:
        usages: list[UsageStats] = []
        first = run(tasks(50), echo, store, total=50, watch=usages.append)
        assert {row: answer.value for row, answer in first.items()} == {row: f"says row {row}" for row in range(50)}
        assert all(answer.calls == 1 and answer.reply is not None and not answer.reason for answer in first.values())
        assert (usages[-1].rows, usages[-1].stored, usages[-1].calls) == (50, 0, 50)
        second = run(tasks(50), echo, store, total=50, watch=usages.append)
        assert len(echo.requests) == 50
        assert all(answer.calls == 0 for answer in second.values())
        assert {row: answer.reply for row, answer in second.items()} == {r: a.reply for r, a in first.items()}
        assert (usages[-1].rows, usages[-1].stored, usages[-1].calls, usages[-1].total) == (50, 50, 0, 50)

    def test_the_first_failure_is_a_notice_at_once_and_equal_ones_are_counted(self, store: ReplyStore) -> None:
        def broken(_: Request) -> Reply:
            raise CallFailed("500 out of memory")

        usages: list[UsageStats] = []
        run(tasks(3), Model(broken), store, retries=2, watch=usages.append)
        first, summary = usages[-1].notices
        assert first == "first failure: 500 out of memory (row 0); sent again, at most 2 times"
        assert summary == "failures: 9 times 500 out of memory"
        assert usages[-1].failures == Counter({"500 out of memory": 9})

    def test_notices_of_the_model_are_passed_on_once(self, store: ReplyStore, echo: Model) -> None:
        echo.notices = ["the server refuses a temperature"]  # type: ignore[attr-defined]
        usages: list[UsageStats] = []
        run(tasks(5), echo, store, watch=usages.append)
        assert usages[-1].notices == ["the server refuses a temperature"]

    def test_no_tasks(self, store: ReplyStore, echo: Model) -> None:
        assert run([], echo, store) == {}

    def test_equal_requests_are_sent_once_and_parsed_per_row(self, store: ReplyStore, echo: Model) -> None:
        equal = [Task(row, make_request("row 7"), lambda reply, row=row: (row, reply.text)) for row in range(5)]
        answers = run(equal, echo, store)
        assert [answers[row].value for row in range(5)] == [(row, "says row 7") for row in range(5)]
        assert len(echo.requests) == 1
        assert sum(answer.calls for answer in answers.values()) == 1

    def test_draws_of_one_request_are_sent_separately(self, store: ReplyStore, echo: Model) -> None:
        run([Task(row, make_request("row 7", draw=row), str) for row in range(3)], echo, store)
        assert len(echo.requests) == len(store) == 3

    def test_replies_are_stored_per_model(self, store: ReplyStore, echo: Model) -> None:
        run(tasks(3), echo, store)
        other = Model(lambda request: "other", name="other")
        assert run(tasks(3), other, store)[0].value == "other"

    def test_tasks_are_taken_as_needed(self, store: ReplyStore, echo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "CHUNK", 8)
        monkeypatch.setattr(engine, "WINDOW", 32)
        taken = answered = furthest = 0

        def source() -> Iterator[Task[Any]]:
            nonlocal taken, furthest
            for task in tasks(400):
                taken += 1
                furthest = max(furthest, taken - answered)
                yield task

        for _ in start(source(), echo, store, concurrency=2):
            answered += 1
        assert answered == 400
        assert furthest <= 32 + 8

    def test_batches_are_filled_and_concurrency_is_bounded(self, store: ReplyStore) -> None:
        model = Model(lambda request: "fine", batch_size=8, concurrency=3)
        run(tasks(100), model, store)
        assert max(size for _, size in model.calls) == 8
        assert len(model.calls) <= 100 / 8 + 3
        assert model.most_at_once == 3
        alone = Model(lambda request: "fine", name="alone")
        run(tasks(20), alone, store, concurrency=1)
        assert alone.most_at_once == 1

    def test_works_within_a_running_event_loop(self, store: ReplyStore, echo: Model) -> None:
        async def notebook() -> int:
            return len(run(tasks(5), echo, store))

        assert asyncio.run(notebook()) == 5

    def test_one_run_feeds_another_on_one_store(self, store: ReplyStore, echo: Model) -> None:
        inner = start(tasks(40), echo, store)
        outer = (Task(answer.row, make_request(f"row {answer.row} then {answer.value}"), str) for answer in inner)
        assert len(run(outer, echo, store)) == 40
        assert len(store) == 80

    def test_watch_gets_the_final_usage(self, store: ReplyStore) -> None:
        snapshots: list[UsageStats] = []
        model = Model(lambda request: "a b" if number(request) else Refusal("too long"))
        run(tasks(10), model, store, prices=Price(prompt=1, answer=2), total=10, watch=snapshots.append)
        last = snapshots[-1]
        assert (last.rows, last.failed, last.calls, last.total) == (10, 1, 10, 10)
        assert (last.prompt_tokens, last.answer_tokens) == (18, 18)
        assert last.money == pytest.approx((18 + 36) / 1e6)

    def test_aclose_runs_in_the_model_s_loop(self, store: ReplyStore, echo: Model) -> None:
        closed = []

        async def aclose() -> None:
            closed.append(asyncio.get_running_loop())

        echo.aclose = aclose  # type: ignore[attr-defined]
        run(tasks(2), echo, store)
        assert len(closed) == 1


class TestBadReplies:
    @staticmethod
    def parse(reply: Reply) -> str:
        if reply.text.startswith("bad"):
            raise BadReply(f"found {reply.text!r}")
        return reply.text

    def test_unusable_reply_leads_to_a_repair_request(self, store: ReplyStore) -> None:
        model = Model(lambda request: "fine" if repair_number(request) == 2 else f"bad {repair_number(request)}")
        snapshots: list[UsageStats] = []
        answer = run(tasks(1, self.parse), model, store, watch=snapshots.append)[0]
        assert (answer.value, answer.calls) == ("fine", 3)
        assert [request.messages[-1].content for request in model.requests[1:]] == [
            "row 0\n\n(Answer number 1 could not be used: found 'bad 0'. "
            "Answer what is asked above again, exactly in the form asked for.)",
            "row 0\n\n(Answer number 2 could not be used: found 'bad 1'. "
            "Answer what is asked above again, exactly in the form asked for.)",
        ]
        assert [reply.text for reply in stored_replies(store).values()] == ["bad 0", "bad 1", "fine"]
        assert (snapshots[-1].bad, snapshots[-1].repairs) == (2, 2)
        answer = run(tasks(1, self.parse), model, store)[0]
        assert (answer.value, answer.calls, len(model.requests)) == ("fine", 0, 3)

    def test_row_fails_after_the_last_repair(self, store: ReplyStore) -> None:
        model = Model(lambda request: f"bad {repair_number(request)}")
        for request in (3, 0):
            answer = run(tasks(1, self.parse), model, store)[0]
            assert (answer.value, answer.calls) == (None, request)
            assert answer.reason == "3 bad replies, the last: found 'bad 2'"
            assert answer.reply is not None
            assert answer.reply.text == "bad 2"
        assert run(tasks(1, self.parse), model, store, repairs=3)[0].calls == 1
        assert run(tasks(1, self.parse), model, store, repairs=0)[0].reason == "bad reply: found 'bad 0'"

    def test_other_parser_needs_no_call(self, store: ReplyStore) -> None:
        model = Model(lambda request: "bad")
        run(tasks(3, self.parse), model, store)
        calls = len(model.requests)
        assert run(tasks(3), model, store)[1].value == "bad"
        assert len(model.requests) == calls

    def test_failure_after_an_unusable_reply_keeps_the_reply(self, store: ReplyStore) -> None:
        model = Model(lambda request: Refusal("too long") if repair_number(request) else "bad")
        answer = run(tasks(1, self.parse), model, store)[0]
        assert (answer.value, answer.reason) == (None, "after 1 bad: too long")
        assert answer.reply is not None

    def test_rows_with_equal_requests_share_repair_requests(self, store: ReplyStore) -> None:
        model = Model(lambda request: "fine" if repair_number(request) else "bad")
        equal = [Task(row, make_request("row 1"), self.parse) for row in range(4)]
        assert {answer.value for answer in run(equal, model, store).values()} == {"fine"}
        assert len(model.requests) == 2

    def test_error_in_a_parser_is_raised_and_the_reply_stored(self, store: ReplyStore) -> None:
        with pytest.raises(ZeroDivisionError):
            run(tasks(1, lambda reply: 1 / 0), Model(lambda request: "fine"), store)
        assert len(store) == 1


class TestFailures:
    def test_refusal_fails_its_row_and_is_sent_once(self, store: ReplyStore) -> None:
        model = Model(lambda request: Refusal("too long") if number(request) == 3 else "fine", batch_size=4)
        answers = run(tasks(10), model, store)
        assert [row for row, answer in answers.items() if answer.value is None] == [3]
        assert (answers[3].reason, answers[3].calls) == ("too long", 1)
        assert run(tasks(10), model, store)[3].reason == "too long"
        assert len(model.requests) == 10
        model._answer = lambda request: "fine"
        assert run(tasks(10), model, store, retry_failed=True)[3].value == "fine"
        assert len(model.requests) == 11

    def test_failed_call_is_retried_unchanged_after_a_wait(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            if len(model.calls) <= 2:
                raise CallFailed("status 500")
            return "fine"

        model = Model(answer, batch_size=4, concurrency=1)
        answers = run(tasks(4), model, store, first_wait=10)
        assert {result.value for result in answers.values()} == {"fine"}
        assert [size for _, size in model.calls] == [4, 4, 4]
        assert model.times == sorted(set(model.times)), "each retry came later"

    def test_failing_row_is_isolated_from_its_batch(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            if number(request) in {3, 21}:
                raise CallFailed("out of memory")
            return "fine"

        model = Model(answer, batch_size=8, concurrency=1)
        answers = run(tasks(32), model, store, retries=2)
        assert [row for row, result in answers.items() if result.value is None] == [3, 21]
        assert answers[3].reason == f"failed {answers[3].calls} times, the last: out of memory"
        assert len(model.calls) == 4 + 2 * (2 + 6)

    def test_permanent_failure_is_not_sent_again(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            if number(request) == 5:
                raise CallFailed("status\n500")
            return "fine"

        model = Model(answer)
        answers = run(tasks(10), model, store, retries=3)
        assert answers[5].reason == "failed 4 times, the last: status 500"
        assert answers[5].calls == 4
        assert sum(result.value is None for result in answers.values()) == 1
        assert run(tasks(10), model, store)[5].calls == 0
        assert Counter(map(number, model.requests)) == Counter(range(10)) + Counter({5: 3})
        assert store.forget_failures() == 1
        assert run(tasks(10), model, store, retries=0)[5].reason == "failed: status 500"

    def test_few_failing_rows_do_not_open_the_breaker(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            raise CallFailed("status 500")

        answers = run(tasks(4), Model(answer), store, retries=9, breaker_failures=5)
        assert {result.calls for result in answers.values()} == {10}

    def test_hanging_call_times_out(self, store: ReplyStore) -> None:
        async def answer(request: Request) -> str:
            await asyncio.sleep(1e4 if number(request) == 2 else 1)
            return "fine"

        answers = run(tasks(4), Model(answer), store, timeout=30, retries=1)
        assert answers[2].reason == "failed 2 times, the last: no answer within 30 s"
        assert sum(result.value == "fine" for result in answers.values()) == 3

    def test_too_few_replies_are_an_error(self, store: ReplyStore) -> None:
        model = Model(lambda request: "fine", batch_size=2)
        model.complete = lambda requests: asyncio.sleep(0, [])  # type: ignore[assignment,return-value]
        with pytest.raises(LlmError, match=r"function.* 0 replies to 2 requests"):
            run(tasks(2), model, store)

    def test_error_in_an_adapter_is_raised(self, store: ReplyStore) -> None:
        with pytest.raises(KeyError, match="choices"):
            run(tasks(5), Model(lambda request: {}["choices"]), store)

    def test_error_in_the_task_iterator_is_raised(self, store: ReplyStore, echo: Model) -> None:
        def source() -> Iterator[Task[Any]]:
            yield from tasks(3)
            raise OSError("the file ended")

        with pytest.raises(OSError, match="the file ended"):
            run(source(), echo, store)


class TestRateLimits:
    def test_retry_after_pauses_all_calls(self, store: ReplyStore) -> None:
        failed = []

        def answer(request: Request) -> str:
            if len(failed) < 1:
                failed.append(request)
                raise CallFailed("status 429", retry_after=40)
            return "fine"

        model = Model(answer, concurrency=1)
        run(tasks(10), model, store)
        assert model.times[0] == 0
        assert min(model.times[1:]) == pytest.approx(40)

    def test_too_long_retry_after_is_cut(self, store: ReplyStore) -> None:
        waits = iter([1e9, float("inf"), float("nan"), -5.0])

        def answer(request: Request) -> str:
            for wait in waits:
                raise CallFailed("status 429", retry_after=wait)
            return "fine"

        model = Model(answer, concurrency=1)
        run(tasks(1), model, store, longest_wait=7, first_wait=1)
        assert 7 <= model.times[1] <= 8
        assert model.times[-1] < 2 * 8 + 4 + 8

    def test_calls_per_minute(self, store: ReplyStore) -> None:
        model = Model(lambda request: "fine", concurrency=16)
        run(tasks(100), model, store, requests_per_minute=30)
        assert len(model.times) == 100
        assert all(later - earlier >= 2 - 1e-6 for earlier, later in zip(model.times, model.times[1:], strict=False))
        assert model.times[-1] == pytest.approx(198)

    def test_tokens_per_minute_are_settled_by_usage(self, store: ReplyStore) -> None:
        """Two words of prompt and five of answer are reserved; the answer has one."""
        model = Model(lambda request: "fine", concurrency=1)
        run(tasks(61), model, store, tokens_per_minute=60)
        assert model.times[-1] == pytest.approx(60 * 3, rel=0.1)


class TestBudget:
    def test_calls(self, store: ReplyStore, echo: Model) -> None:
        with pytest.raises(BudgetReached, match=r"^function: .*\b7 of 7 calls.*\b13 rows"):
            run(tasks(20), echo, store, budget_calls=7, total=20)
        assert len(echo.requests) == len(store) == 7
        assert len(run(tasks(20), echo, store, budget_calls=13)) == 20, "continues where it stopped"

    def test_rows_before_the_stop_are_answered(self, store: ReplyStore, echo: Model) -> None:
        results: list[TaskAnswer[Any]] = []
        with pytest.raises(BudgetReached, match="at least 13 rows"):
            results.extend(start(iter(tasks(20)), echo, store, budget_calls=7))
        assert len(results) == 7

    def test_stored_replies_need_no_budget(self, store: ReplyStore, echo: Model) -> None:
        run(tasks(20), echo, store)
        assert len(run(tasks(20), echo, store, budget_calls=0, budget_tokens=0)) == 20

    def test_the_worst_case_must_fit(self, store: ReplyStore, echo: Model) -> None:
        """2 + 5 tokens are reserved for a call that uses 2 + 3: 20 allow three calls, not four."""
        with pytest.raises(BudgetReached, match="15 of 20 tokens"):
            run(tasks(9), echo, store, budget_tokens=20)
        assert len(echo.requests) == 3

    def test_money_needs_a_price(self, store: ReplyStore, echo: Model) -> None:
        with pytest.raises(ConfigError, match=r"5 dollars.*price of function"):
            answer_tasks(tasks(1), echo, store, EngineConfig(budget_money=5))

    def test_money(self, store: ReplyStore, echo: Model) -> None:
        price = Price(prompt=1e6, answer=1e5)  # a dollar per prompt token; a call costs 2.3 and at most 2.5
        with pytest.raises(BudgetReached, match=r"9\.2000 of 11\.0 dollars"):
            run(tasks(9), echo, store, budget_money=11, prices=price)
        assert len(run(tasks(9), echo, store, budget_money=0, prices=Price(prompt=0))) == 9

    def test_timed_out_call_counts_as_the_worst_case(self, store: ReplyStore) -> None:
        model = Model(lambda request: asyncio.sleep(100, "fine"), concurrency=1)
        with pytest.raises(BudgetReached, match="14 of 20 tokens"):
            run(tasks(1), model, store, budget_tokens=20, timeout=1)

    def test_reported_prompt_tokens_raise_later_reservations(self, store: ReplyStore) -> None:
        model = Model(lambda request: Reply("fine", Usage(20, 1)), concurrency=1)
        with pytest.raises(BudgetReached, match="84 of 100 tokens"):
            run(tasks(20), model, store, budget_tokens=100)

    @settings(max_examples=20, deadline=None)
    @given(budget=st.integers(0, 120), concurrency=st.integers(1, 9), seed=st.integers(0, 99))
    def test_budget_is_never_exceeded(self, tmp_path_factory: Any, budget: int, concurrency: int, seed: int) -> None:
        rng = Random(seed)

        def answer(request: Request) -> str:
            if rng.random() < 0.3:
                raise CallFailed("status 500")
            return "word " * rng.randint(1, 5)

        snapshots: list[UsageStats] = []
        with ReplyStore(tmp_path_factory.mktemp("b") / "s") as fresh:
            model = Model(answer, concurrency=concurrency)
            results = []
            try:
                results += start(tasks(30), model, fresh, budget_tokens=budget, watch=snapshots.append)
            except BudgetReached:
                assert len(results) < 30
            assert snapshots[-1].prompt_tokens + snapshots[-1].answer_tokens <= budget or len(results) == 30
            assert snapshots[-1].prompt_tokens + snapshots[-1].answer_tokens <= budget


class TestBreaker:
    def test_model_that_goes_down_stops_the_run_without_failures(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            if number(request) >= 30:
                raise CallFailed("status 503")
            return "fine"

        model = Model(answer)
        results: list[TaskAnswer[Any]] = []
        with pytest.raises(LlmError, match=r"^function: .*\b5 calls.*\b120 s.*status 503.*\b970 rows"):
            results += start(tasks(1000), model, store, breaker_failures=5, retries=2, total=1000)
        assert len(store) == 30
        assert all(answer.reason == "" for answer in results)
        assert stored_failures(store) == {}
        assert len(model.requests) < 30 + 5 * 3 + 40, "it is probed at intervals"
        assert model.times[-1] > 60
        model._answer = lambda request: "fine"
        assert len(run(tasks(1000), model, store)) == 1000

    def test_exhausted_rows_are_not_saved_as_failures(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            raise CallFailed("status 503")

        with pytest.raises(LlmError, match=r"status 503.*\b9 rows"):
            run(tasks(9), Model(answer, concurrency=1), store, breaker_failures=5, retries=0, total=9)
        assert stored_failures(store) == {}

    def test_run_continues_when_the_model_recovers(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            if 1 < asyncio.get_running_loop().time() < 90:
                raise CallFailed("status 503")
            return "fine"

        model = Model(answer, concurrency=8)
        answers = run(
            tasks(400), model, store, breaker_failures=5, retries=0, requests_per_minute=3000, breaker_seconds=500
        )
        assert len(answers) == 400
        assert len([time for time in model.times if 1 < time < 90]) < 40
        assert all(answer.value == "fine" for answer in answers.values()), "no row fails, even without retries"

    def test_unreachable_model_stops_the_run_at_once(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            raise CallFailed("no connection", reached=False)

        model = Model(answer)
        with pytest.raises(LlmError, match=r"cannot be reached \(no connection\).*at least 100 rows"):
            run(tasks(100), model, store, breaker_failures=5)
        assert len(model.requests) < 20
        with pytest.raises(LlmError, match="cannot be reached"):
            run(tasks(1), model, store)
        assert stored_failures(store) == {}

    def test_model_that_refuses_everything_stops_the_run(self, store: ReplyStore) -> None:
        model = Model(lambda request: Refusal("no such model"))
        with pytest.raises(LlmError, match=r"refused.* 20 requests.*no such model.* 100 rows"):
            run(tasks(100), model, store, total=100)
        assert stored_failures(store) == {}
        few = run(tasks(3), model, store)
        assert {answer.reason for answer in few.values()} == {"no such model"}

    def test_random_failures_do_not_open_the_breaker(self, store: ReplyStore) -> None:
        rng = Random(1)

        def answer(request: Request) -> str:
            if rng.random() < 0.5:
                raise CallFailed("status 500")
            return "fine"

        assert len(run(tasks(500), Model(answer), store, retries=50)) == 500


class TestEnding:
    def test_closing_early_ends_the_thread_and_releases_claims(self, store: ReplyStore) -> None:
        model = Model(lambda request: asyncio.sleep(1 if number(request) < 10 else 1e5, "fine"), concurrency=16)
        answers = start(tasks(100), model, store, timeout=1e6)
        results = [next(answers) for _ in range(10)]
        answers.close()  # type: ignore[attr-defined]
        assert no_thread_is_left()
        assert claims(store) == 0
        assert len(results) == len(store) == 10
        assert model.at_once == 0, "calls in flight were cancelled"
        model._answer = lambda request: "fine"
        run(tasks(100), model, store)
        assert Counter(map(number, model.requests)).most_common(1)[0][1] <= 2
        assert all(count == 1 for row, count in Counter(map(number, model.requests)).items() if row < 10)

    def test_leaving_a_for_loop_ends_the_thread(self, store: ReplyStore, echo: Model) -> None:
        for answer in start(tasks(100), echo, store):
            assert answer.value
            break
        assert no_thread_is_left()

    def test_unused_iterator_sends_nothing(self, store: ReplyStore, echo: Model) -> None:
        start(tasks(100), echo, store)
        assert echo.requests == []

    def test_ctrl_c_is_raised_and_replies_are_stored(self, store: ReplyStore) -> None:
        main = threading.main_thread().ident
        assert main is not None

        async def answer(request: Request) -> str:
            if number(request) == 20:
                signal.pthread_kill(main, signal.SIGINT)
            await asyncio.sleep(1e5 if number(request) >= 20 else 0)
            return "fine"

        model = Model(answer, concurrency=1)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
        try:
            with pytest.raises(KeyboardInterrupt):
                list(answer_tasks(tasks(100), model, store, EngineConfig(timeout=1e6)))
        finally:
            signal.signal(signal.SIGINT, before)
        assert no_thread_is_left()
        assert len(store) == 20

    def test_ctrl_c_inside_the_model_is_raised(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(tasks(3), Model(answer), store)


class TestSecrets:
    KEY = "sk-canary-0123456789"

    @pytest.fixture(autouse=True)
    def _canary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOME_API_KEY", self.KEY)

    def test_echoed_keys_are_removed(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str | Refusal:
            match number(request) % 3:
                case 0:
                    return f"you are {self.KEY}"
                case 1:
                    return Refusal(f"wrong key {self.KEY}")
                case _:
                    raise CallFailed(f"wrong key {self.KEY}")

        snapshots: list[UsageStats] = []
        answers = run(tasks(6), Model(answer), store, retries=1, watch=snapshots.append)
        assert self.KEY not in repr(answers) + repr(snapshots) + repr(stored_failures(store)) + repr(
            list(stored_replies(store).items())
        )
        assert self.KEY.encode() not in b"".join(path.read_bytes() for path in store.path.parent.iterdir())
        assert answers[0].value == "you are [a key was here]"

    def test_exceptions_hold_no_key(self, store: ReplyStore) -> None:
        def answer(request: Request) -> str:
            raise RuntimeError(f"header Bearer {self.KEY}")

        with pytest.raises(LlmError, match=r"function: RuntimeError: .*\[a key was here\]"):
            run(tasks(1), Model(answer), store)


@settings(max_examples=30, deadline=None)
@given(
    outcomes=st.lists(st.lists(st.sampled_from(["fail", "bad", "hang", "429"]), max_size=5), min_size=1, max_size=12),
    refused=st.sets(st.integers(0, 11)),
    batch_size=st.integers(1, 3),
    concurrency=st.integers(1, 5),
)
def test_every_row_is_answered_once_under_random_faults(
    tmp_path_factory: Any, outcomes: list[list[str]], refused: set[int], batch_size: int, concurrency: int
) -> None:
    left = [list(outcome) for outcome in outcomes]

    async def answer(request: Request) -> str | Refusal:
        row = number(request)
        if row in refused:
            return Refusal("never")
        outcome = left[row].pop() if left[row] else "fine"
        if outcome == "hang":
            await asyncio.sleep(1e5)
        if outcome in {"fail", "429"}:
            raise CallFailed(outcome, retry_after=3 if outcome == "429" else None)
        return outcome

    with ReplyStore(tmp_path_factory.mktemp("w") / "s") as fresh:
        model = Model(answer, batch_size=batch_size, concurrency=concurrency)
        task_list = tasks(len(outcomes), TestBadReplies.parse)
        first = run(task_list, model, fresh, retries=3, repairs=2)
        assert first.keys() == set(range(len(outcomes)))
        assert all((result.value == "fine") == (not result.reason) for result in first.values())
        assert all(first[row].reason for row in refused if row < len(outcomes))
        calls = len(model.requests)
        second = run(task_list, model, fresh, retries=3, repairs=2)
        assert len(model.requests) == calls
        assert {row: result.value for row, result in second.items()} == {
            row: result.value for row, result in first.items()
        }
        assert {row: result.reason for row, result in second.items()} == {
            r: result.reason for r, result in first.items()
        }
