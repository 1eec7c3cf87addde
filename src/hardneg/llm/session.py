"""Tasks to answers: one language model with its store, limits and a budget, and the thread that calls it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, TypeVar

from hardneg.errors import ConfigError
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.queue import TaskQueue
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.engine.worker import Worker
from hardneg.llm.protocol import ChatModel, Task, TaskAnswer
from hardneg.llm.usage import Price, UsageStats

T = TypeVar("T")
UsageWatch = Callable[[UsageStats], None]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

CHUNK = 256
"""Maximum number of tasks taken from the iterator at once."""
PULL_SECONDS = 0.05
"""Maximum time to gather a chunk from a slow iterator."""
WINDOW = 4 * CHUNK
"""Maximum number of tasks taken and not yet answered, unless several rounds of calls need more."""
WATCH_SECONDS = 0.25
"""Minimum interval between two calls of `watch`."""


def answer_tasks(
    tasks: Iterable[Task[T]],
    model: ChatModel,
    store: ReplyStore,
    config: EngineConfig | None = None,
    *,
    prices: Price | None = None,
    total: int | None = None,
    watch: UsageWatch | None = None,
    rng: Random | None = None,
    loop_factory: LoopFactory | None = None,
) -> Iterator[TaskAnswer[T]]:
    """Yield an answer for every task as they arrive; only requests without a stored reply are sent to the model.

    Tasks are taken as needed, in the caller's thread. Calls and `parse` run in a separate thread, which ends with the
    iterator: at its end, when it is closed or dropped, and at Ctrl-C. Calls in flight are lost then; replies are stored.
    Equal requests are sent once, also across processes. After an unusable reply `repair_request` makes the
    next request. `TaskAnswer.calls` is 0 if the reply came from the store, an equal row or another process.

    prices: prices of the model, None if unknown. total: number of tasks. watch: called in the caller's thread, a few
    times a second at most and at the end. rng: jitter of waits. loop_factory: another event loop, for tests.
    If the model has a method `aclose`, it is awaited at the end, in the loop that its connections belong to. If it has a
    list `notices`, its lines are added to those of the usage.

    Raises BudgetReached before the budget would be exceeded; LlmError if the model seems to be down or the store cannot
    be used; ConfigError for a budget in money without a price; and whatever `tasks` and `parse` raise.
    """
    config = config or EngineConfig()
    if config.budget_money is not None and prices is None:
        raise ConfigError(
            f"the budget is {config.budget_money:g} dollars, but no price of {model.name} is known; "
            "give a file of prices, or a budget in tokens or calls"
        )
    if config.retry_failed:
        store.forget_failures()
    usage = UsageStats(total=total, money=0.0 if prices else None)

    async def work(engine: _EngineThread) -> None:
        queue = TaskQueue(model, store, config.repairs, usage, engine.emit)
        try:
            await engine.serve(Worker(model, queue, config, usage, prices, rng or Random()))
        finally:
            if (close := getattr(model, "aclose", None)) is not None:
                await close()

    window = max(WINDOW, 4 * (config.concurrency or model.concurrency) * model.batch_size)
    return _answers(tasks, _EngineThread(work, loop_factory), window, usage, watch)


def _answers(
    tasks: Iterable[Task[T]], engine: _EngineThread, window: int, usage: UsageStats, watch: UsageWatch | None
) -> Iterator[TaskAnswer[T]]:
    """Keep up to `window` tasks in the engine and yield its answers."""
    source, more, waiting = iter(tasks), True, 0
    started = shown = time.monotonic()
    try:
        with engine:
            while more or waiting:
                if more and waiting <= window - CHUNK:
                    chunk, more = _pull(source)
                    engine.submit(chunk, last=not more)
                    waiting += len(chunk)
                for answer in engine.answers(wait=not more or waiting > window - CHUNK):
                    waiting -= 1
                    yield answer
                if watch is not None and time.monotonic() - shown >= WATCH_SECONDS:
                    shown = time.monotonic()
                    watch(replace(usage, seconds=shown - started))
    finally:
        usage.notices += filter(None, [usage.describe_failures()])
        if watch is not None:
            watch(replace(usage, seconds=time.monotonic() - started))


def _pull(source: Iterator[Task[T]]) -> tuple[list[Task[T]], bool]:
    """Return the next tasks and whether there may be more."""
    deadline = time.monotonic() + PULL_SECONDS
    chunk: list[Task[T]] = []
    for task in source:
        chunk.append(task)
        if len(chunk) == CHUNK or time.monotonic() > deadline:
            return chunk, True
    return chunk, False


class _EngineThread:
    """A thread whose event loop runs a Worker while the context lasts."""

    def __init__(
        self, work: Callable[[_EngineThread], Coroutine[Any, Any, None]], loop_factory: LoopFactory | None
    ) -> None:
        self._work, self._loop_factory = work, loop_factory
        self._out: SimpleQueue[list[TaskAnswer[Any]] | BaseException] = SimpleQueue()
        self._batch: list[TaskAnswer[Any]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hardneg-llm", daemon=True)

    def __enter__(self) -> _EngineThread:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(Worker.quit)
        self._thread.join()

    def submit(self, tasks: Sequence[Task[Any]], *, last: bool) -> None:
        self._call(lambda worker: worker.submit(tasks, last=last))

    def answers(self, *, wait: bool) -> list[TaskAnswer[Any]]:
        """Return the answers at hand, after a moment if `wait`; once there are no more, raise what ended the thread."""
        try:
            answers = self._out.get(wait, WATCH_SECONDS)
        except Empty:
            return []
        if isinstance(answers, BaseException):
            raise answers
        return answers

    async def serve(self, worker: Worker) -> None:
        """Let the worker take tasks until it ends; runs in the thread."""
        self._loop, self._worker = asyncio.get_running_loop(), worker
        self._ready.set()
        await worker.run()

    def emit(self, answer: TaskAnswer[Any]) -> None:
        """Pass an answer out, together with the others of the same turn of the loop."""
        if not self._batch and self._loop is not None:
            self._loop.call_soon(self._flush)
        self._batch.append(answer)

    def _call(self, act: Callable[[Worker], None]) -> None:
        """Run a function of the worker in its thread; if the thread has ended, `answers` raises the reason."""
        if self._loop is not None and self._worker is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(act, self._worker)

    def _run(self) -> None:
        end: BaseException = RuntimeError("the engine ended early")
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._work(self))
        except BaseException as error:  # noqa: BLE001 - raised again by `answers`
            end = error
        self._ready.set()
        self._flush()
        self._out.put(end)

    def _flush(self) -> None:
        if self._batch:
            self._out.put(self._batch)
            self._batch = []


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
            "llm_replies_with_estimated_tokens": usage.estimated,
            "llm_tokens_estimated_because": usage.estimate_reason,
            "llm_notices": usage.notices,
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
