"""Calls to a model, many at a time: repeated where they fail, and stopped where it is hopeless."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from hardneg.llm.engine.admission import Admission, Stop
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.queue import QueuedTask, TaskQueue
from hardneg.llm.engine.redaction import secrets
from hardneg.llm.engine.sending import send
from hardneg.llm.engine.store import CLAIM_SECONDS, Failure, ReplyOutcome
from hardneg.llm.engine.usage_stats import UsageCounter
from hardneg.llm.protocol import CallFailed, ChatModel, Refusal, Reply, Request
from hardneg.llm.tasks import Task

POLL_SECONDS = 0.2
"""How often to look whether another process has answered."""
FEWEST_AHEAD = 16
"""Jobs that are claimed ahead of the calls under way, at least; else as many as two rounds of calls take."""
MOST_HELD = 256
"""So many rows are given up even if nothing was answered after them."""


class Attempt:
    """Jobs that go out together, and go out together again. failures: those that count; reason: of the last."""

    __slots__ = ("failures", "jobs", "reason", "sent")

    def __init__(self, jobs: Sequence[QueuedTask]) -> None:
        self.jobs, self.failures, self.sent, self.reason = jobs, 0, False, ""

    def failed(self) -> list[tuple[QueuedTask, ReplyOutcome]]:
        """What to store where it is given up."""
        asked = self.jobs[0].asked
        times = f"failed {asked} times, the last: " if asked > 1 else "failed: "
        return [(job, Failure("failed", times + self.reason)) for job in self.jobs]


class Worker:
    """A fixed number of workers that take calls from one queue; lives in one event loop.

    A call whose repetitions are used up is given up for good only when the model answered another after it: until then
    it may be the model that is gone, and its rows are held. Refusals before the first reply are held in the same way.
    """

    def __init__(
        self, model: ChatModel, board: TaskQueue, config: EngineConfig, counts: UsageCounter, rng: Random
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._model, self._board, self._config, self._counts = model, board, config, counts
        self._gate = Admission(model, config, counts, rng)
        self._keys = secrets()
        self._n_workers = config.concurrency or model.concurrency
        self._ahead = max(2 * self._n_workers, FEWEST_AHEAD // model.batch_size)
        self._ready: asyncio.Queue[Attempt] = asyncio.Queue()
        self._back: list[tuple[QueuedTask, ReplyOutcome]] = []
        self._doubtful: list[Attempt] = []
        self._taken, self._all_taken = 0, False
        self._workers: list[asyncio.Task[None]] = []
        self._sending: set[asyncio.Task[Any]] = set()
        self._stopping: Stop | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """Work until `quit`, until it has to stop (LlmError), or until something is at fault (what it raised)."""
        self._workers = [self._loop.create_task(self._work()) for _ in range(self._n_workers)]
        try:
            await self._over
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            self._board.release()

    def submit(self, tasks: Sequence[Task[Any]], *, last: bool) -> None:
        """Take in tasks; last: no more will come. Like everything here, to be called in the loop's thread."""
        with self._faults_end_it():
            self._taken += len(tasks)
            self._all_taken = last
            self._board.add(tasks)
            self._fill()
            self._later(CLAIM_SECONDS / 5, self._renew)

    def quit(self) -> None:
        """Drop what is under way, and let `run` return."""
        if not self._over.done():
            self._over.set_result(None)

    def _end(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def _stop(self, stop: Stop) -> None:
        """Send nothing more; what is under way may come back."""
        self._stopping = self._stopping or stop
        for worker in self._workers:
            if worker not in self._sending and worker is not asyncio.current_task():
                worker.cancel()
        self._end_when_back()

    def _end_when_back(self) -> None:
        if self._stopping is not None and not self._sending:
            left = self._taken if self._counts.total is None else self._counts.total
            rows = f"{'at least ' if self._counts.total is None else ''}{left - self._counts.rows:,} rows are left"
            said = f"{self._model.name}: {self._stopping.reason}; {rows}, and the same command goes on from here"
            self._end(self._stopping.kind(said))

    @contextmanager
    def _faults_end_it(self) -> Iterator[None]:
        """What goes wrong outside a worker ends the run all the same."""
        try:
            yield
        except Stop as stop:
            self._stop(stop)
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            self._end(error)

    def _fill(self) -> None:
        """Claim jobs ahead of the workers, several at once; at the end, see to what is doubtful."""
        lacking = self._ahead - self._ready.qsize()
        if 2 * lacking >= self._ahead:
            size = self._model.batch_size
            jobs = self._board.take(lacking * size)
            for start in range(0, len(jobs), size):
                self._ready.put_nowait(Attempt(jobs[start : start + size]))
        if self._board.waits_for_others:
            self._later(POLL_SECONDS, self._poll)
        if self._all_taken and 0 < self._held() == len(self._board):
            self._gate.hope_at_the_end()
            self._conclude()

    def _poll(self) -> None:
        self._board.look_again()
        self._fill()

    def _renew(self) -> None:
        if len(self._board):
            self._board.renew()
            self._later(CLAIM_SECONDS / 5, self._renew)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something in a while, unless it is going to be done already."""

        def due() -> None:
            del self._timers[act]
            if self._stopping is None:
                with self._faults_end_it():
                    act()

        if act not in self._timers:
            self._timers[act] = self._loop.call_later(seconds, due)

    async def _work(self) -> None:
        try:
            while self._stopping is None:
                self._fill()
                await self._send(await self._ready.get())
        except Stop as stop:
            self._stop(stop)
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            self._end(error)
        finally:
            self._end_when_back()

    async def _send(self, call: Attempt) -> None:
        requests = [job.request for job in call.jobs]
        async with self._gate.turn(requests) as ticket:
            self._count(call)
            try:
                replies = await self._sent(requests)
            except CallFailed as failed:
                pause = self._gate.failed(ticket, call, failed)
                self._failed(call, failed.reason, pause)
            else:
                self._gate.answered(ticket, replies)
                self._answered(call, replies)

    async def _sent(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Send; remember who is waiting for the model, since that is not to be broken off when others stop."""
        worker = asyncio.current_task()
        assert worker is not None
        self._sending.add(worker)
        try:
            return await send(self._model, requests, self._config.timeout, self._keys)
        finally:
            self._sending.discard(worker)

    def _count(self, call: Attempt) -> None:
        self._counts.calls += 1
        self._counts.retries += call.sent
        for job in call.jobs:
            job.asked += 1
            self._counts.repairs += job.attempt > 0 and not call.sent
        call.sent = True

    def _answered(self, call: Attempt, replies: Sequence[Reply | Refusal]) -> None:
        """Store the outcomes. A reply also tells that the model is there, so earlier failures were the rows' own."""
        for job, reply in zip(call.jobs, replies, strict=True):
            self._back.append((job, reply if isinstance(reply, Reply) else Failure("refused", reply.reason)))
        if self._gate.breaker.replied or self._held() >= MOST_HELD:
            self._conclude()
        self._gate.hope()

    def _failed(self, call: Attempt, reason: str, pause: float) -> None:
        """Repeat a failed call later; when it was repeated often enough, find out which job it is, and doubt that."""
        self._gate.hope()
        call.reason = reason
        if self._gate.breaker.open:  # this and the failures before may be no fault of the calls'
            self._again(*self._doubtful, call)
            self._doubtful.clear()
            return
        call.failures += 1
        if call.failures <= self._config.retries:
            self._loop.call_later(pause + self._gate.backoff(call.failures), self._again, call)
        elif len(call.jobs) > 1:
            self._again(*self._halves(call))
        else:
            self._doubtful.append(call)
            if self._held() >= MOST_HELD:
                self._conclude()

    def _halves(self, call: Attempt) -> Iterator[Attempt]:
        """It may be one job that fails the call: half of them, and the other half, get a last chance."""
        middle = len(call.jobs) // 2
        for jobs in (call.jobs[:middle], call.jobs[middle:]):
            half = Attempt(jobs)
            half.failures, half.sent = self._config.retries, True
            yield half

    def _again(self, *calls: Attempt) -> None:
        for call in calls:
            self._ready.put_nowait(call)

    def _held(self) -> int:
        return len(self._back) + sum(len(call.jobs) for call in self._doubtful)

    def _conclude(self) -> None:
        """Store what was held: it is certain now."""
        outcomes = self._back + [outcome for call in self._doubtful for outcome in call.failed()]
        self._back, self._doubtful = [], []
        self._board.save(outcomes)
