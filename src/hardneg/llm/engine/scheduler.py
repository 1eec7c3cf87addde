"""Asking a language model by the hundred thousand: from an iterator of tasks to an iterator of answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, TypeVar

from hardneg.errors import ConfigError
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.queue import TaskQueue
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.engine.usage_stats import UsageCounter, UsageStats
from hardneg.llm.engine.worker import Worker
from hardneg.llm.prices import Price
from hardneg.llm.protocol import ChatModel
from hardneg.llm.tasks import Task, TaskAnswer

T = TypeVar("T")
UsageWatch = Callable[[UsageStats], None]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

CHUNK = 256
"""Tasks that are taken from the iterator, looked up and handed over at once, at most."""
PULL_SECONDS = 0.05
"""How long to gather a chunk where the iterator is slow."""
WINDOW = 4 * CHUNK
"""Tasks taken and not yet answered, at most, unless calls of several rounds need more."""
WATCH_SECONDS = 0.25


def run_tasks(
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
    """Ask every task that the store has no reply to, and yield an answer for each, as they come.

    Tasks are taken as they are needed, in the caller's thread; calls and `parse` run in a thread of their own, which
    ends with the iterator: at its end, when it is closed or dropped, and at Ctrl-C. What was in flight is lost then,
    what came back is stored. Equal requests are asked once; so are requests that another process is asking.

    An answer's `asked` is 0 where the reply came from the store, from an equal row or from another process. A reply that
    `parse` calls bad is asked again as `hardneg.llm.engine.reply_repair` says. prices: of the model, None where unknown. total: how
    many tasks there are. watch: called in the caller's thread, a few times a second at most and at the end. rng: jitter
    of the waits; loop_factory: another event loop (tests turn its clock).

    If the model has a method `aclose`, it is awaited at the end, in the loop that its connections belong to.

    Raises BudgetReached before the budget would be passed; LlmError where the model seems to be gone or the store
    cannot be used; ConfigError for a budget in money without a price; and whatever `tasks` and `parse` raise.
    """
    config = config or EngineConfig()
    if config.budget_money is not None and prices is None:
        raise ConfigError(
            f"the budget is {config.budget_money:g} dollars, but no price of {model.name} is known; "
            "give a file of prices, or a budget in tokens or calls"
        )
    if config.retry_failed:
        store.forget_failures()
    counts = UsageCounter(total, prices)
    engine = _Engine(model, store, config, counts, rng or Random(), loop_factory)
    window = max(WINDOW, 4 * (config.concurrency or model.concurrency) * model.batch_size)
    return _answers(tasks, engine, window, _Watched(counts, watch))


def _answers(tasks: Iterable[Task[T]], engine: _Engine, window: int, watched: _Watched) -> Iterator[TaskAnswer[T]]:
    """Keep the window filled, and yield what comes out."""
    source, more, under_way = iter(tasks), True, 0
    try:
        with engine:
            while more or under_way:
                if more and under_way <= window - CHUNK:
                    chunk, more = _pull(source)
                    engine.submit(chunk, last=not more)
                    under_way += len(chunk)
                for answer in engine.answers(wait=not more or under_way > window - CHUNK):
                    under_way -= 1
                    yield answer
                watched.look()
    finally:
        watched.look(last=True)


def _pull(source: Iterator[Task[T]]) -> tuple[list[Task[T]], bool]:
    """The next tasks, and whether there may be more."""
    deadline = time.monotonic() + PULL_SECONDS
    chunk: list[Task[T]] = []
    for task in source:
        chunk.append(task)
        if len(chunk) == CHUNK or time.monotonic() > deadline:
            return chunk, True
    return chunk, False


class _Watched:
    """Shows the tally now and then."""

    def __init__(self, counts: UsageCounter, watch: UsageWatch | None) -> None:
        self._counts, self._watch = counts, watch
        self._shown = time.monotonic()

    def look(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._watch is not None and (last or now - self._shown >= WATCH_SECONDS):
            self._shown = now
            self._watch(self._counts.now())


class _Ended:
    """The last word of an engine. error: why it ended before it was told to."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Engine:
    """A thread with an event loop in which a Caller works, as long as the context lasts."""

    def __init__(
        self,
        model: ChatModel,
        store: ReplyStore,
        config: EngineConfig,
        counts: UsageCounter,
        rng: Random,
        loop_factory: LoopFactory | None,
    ) -> None:
        self._model, self._store, self._config, self._counts, self._rng = model, store, config, counts, rng
        self._loop_factory = loop_factory
        self._out: SimpleQueue[list[TaskAnswer[Any]] | _Ended] = SimpleQueue()
        self._batch: list[TaskAnswer[Any]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._caller: Worker | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, name="hardneg-llm", daemon=True)

    def __enter__(self) -> _Engine:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(Worker.quit)
        self._thread.join()

    def submit(self, tasks: Sequence[Task[Any]], *, last: bool) -> None:
        """Hand over tasks."""
        self._tell(lambda caller: caller.submit(tasks, last=last))

    def answers(self, *, wait: bool) -> list[TaskAnswer[Any]]:
        """Answers that are there, after a moment if need be; raises what ended the engine, when all are out."""
        try:
            found = self._out.get(wait, WATCH_SECONDS)
        except Empty:
            return []
        if isinstance(found, _Ended):
            raise found.error or RuntimeError("the engine ended early")
        return found

    def _tell(self, act: Callable[[Worker], None]) -> None:
        """Let the thread do something; where it ended, `answers` tells why."""
        if self._loop is not None and self._caller is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(act, self._caller)

    def _live(self) -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._work())
        except BaseException as caught:  # noqa: BLE001 - raised again where the answers are read
            error = caught
        self._ready.set()
        self._flush()
        self._out.put(_Ended(error))

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        board = TaskQueue(self._model, self._store, self._config.repairs, self._counts, self._emit)
        caller = Worker(self._model, board, self._config, self._counts, self._rng)
        self._caller = caller
        self._ready.set()
        try:
            await caller.run()
        finally:
            if (close := getattr(self._model, "aclose", None)) is not None:
                await close()

    def _emit(self, answer: TaskAnswer[Any]) -> None:
        """Answers of one turn of the loop go out together."""
        if not self._batch and self._loop is not None:
            self._loop.call_soon(self._flush)
        self._batch.append(answer)

    def _flush(self) -> None:
        if self._batch:
            self._out.put(self._batch)
            self._batch = []
