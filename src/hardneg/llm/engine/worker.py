"""Concurrent calls to a model: failed calls are retried, and the run stops where the model seems to be down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from hardneg.llm.engine.admission import Admission, Stop
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.queue import Attempt, TaskQueue
from hardneg.llm.engine.store import CLAIM_SECONDS, Failure, ReplyOutcome
from hardneg.llm.protocol import CallFailed, CallTimedOut, ChatModel, LlmError, Refusal, Reply, Request, Task
from hardneg.llm.redaction import one_line, redact, secrets
from hardneg.llm.usage import Price, UsageStats

POLL_SECONDS = 0.2
"""Interval between looks at the store for outcomes of requests that another process has claimed."""
MIN_AHEAD = 16
"""Minimum number of attempts claimed ahead of the calls in flight; otherwise two rounds of calls."""
MAX_HELD = 256
"""Maximum number of outcomes held back; with more, failures are saved even if no later call succeeded."""


async def send(
    model: ChatModel, requests: Sequence[Request], timeout: float, keys: tuple[str, ...]
) -> list[Reply | Refusal]:
    """Send one call and return one reply per request, in order.

    timeout: seconds. keys: API keys to remove wherever a server or an adapter quotes them. Raises CallFailed (or its
    CallTimedOut), LlmError for a wrong number of replies, and whatever else a faulty adapter raises.
    """
    try:
        async with asyncio.timeout(timeout):
            replies = await model.complete(requests)
    except TimeoutError:
        raise CallTimedOut(f"no answer within {timeout:g} s") from None
    except CallFailed as failure:
        reason = one_line(failure.reason, keys)
        raise CallFailed(reason, retry_after=failure.retry_after, reached=failure.reached) from None
    except Exception as error:
        if redact(str(error), keys) == str(error):
            raise
        raise LlmError(f"{model.name}: {type(error).__name__}: {one_line(str(error), keys)}") from None
    if len(replies) != len(requests):
        raise LlmError(
            f"{model.name} returned {len(replies)} replies to {len(requests)} requests, expected as many; "
            "correct its adapter"
        )
    return [
        Refusal(one_line(reply.reason, keys))
        if isinstance(reply, Refusal)
        else replace(reply, text=redact(reply.text, keys), finish=one_line(reply.finish, keys))
        for reply in replies
    ]


class Worker:
    """Sends the attempts of a queue in batches, a fixed number of calls at a time; lives in one event loop.

    A request whose retries are used up is saved as failed only after a later call succeeded: until then the model
    itself may be down. Refusals before the first reply are held back in the same way.
    """

    def __init__(
        self,
        model: ChatModel,
        queue: TaskQueue,
        config: EngineConfig,
        usage: UsageStats,
        price: Price | None,
        rng: Random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._model, self._queue, self._config, self._usage = model, queue, config, usage
        self._admission = Admission(model, config, usage, price, rng)
        self._keys = secrets(named=getattr(model, "key_variable", ""))
        self._concurrency = config.concurrency or model.concurrency
        self._batches_ahead = max(2 * self._concurrency, MIN_AHEAD // model.batch_size)
        self._batches: asyncio.Queue[list[Attempt]] = asyncio.Queue()
        self._held: list[tuple[Attempt, ReplyOutcome]] = []
        self._submitted, self._all_submitted = 0, False
        self._senders: list[asyncio.Task[None]] = []
        self._in_flight: set[asyncio.Task[Any] | None] = set()
        self._stop: Stop | None = None
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """Work until `quit`. Raises LlmError where the run has to stop, and any error of a parser or an adapter."""
        self._senders = [self._loop.create_task(self._send_batches()) for _ in range(self._concurrency)]
        try:
            await self._end
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for sender in self._senders:
                sender.cancel()
            await asyncio.gather(*self._senders, return_exceptions=True)
            self._queue.store.release(self._queue.owner)

    def submit(self, tasks: Sequence[Task[Any]], *, last: bool) -> None:
        """Add tasks; last: no more will come. Must be called in the loop's thread."""
        with self._errors_end_run():
            self._submitted += len(tasks)
            self._all_submitted = last
            self._queue.add(tasks)
            self._fill()
            self._call_later(CLAIM_SECONDS / 5, self._renew_claims)

    def quit(self) -> None:
        """Cancel the calls in flight and let `run` return."""
        if not self._end.done():
            self._end.set_result(None)

    @contextmanager
    def _errors_end_run(self) -> Iterator[None]:
        """End the run on an error. After a Stop, first wait for the calls in flight and save their outcomes."""
        error: Exception | None = None
        try:
            yield
        except Stop as stop:
            self._stop = self._stop or stop
            for sender in self._senders:
                if sender not in self._in_flight and sender is not asyncio.current_task():
                    sender.cancel()
        except Exception as unexpected:  # noqa: BLE001 - raised again by `run`
            error = unexpected
        finally:
            if self._stop is not None and not self._in_flight:
                total = self._usage.total
                left = f"{(self._submitted if total is None else total) - self._usage.rows:,} rows are left"
                left = f"at least {left}" if total is None else left
                message = f"{self._model.name}: {self._stop.reason}; {left}; run the same command to continue"
                error = error or self._stop.kind(message)
            if error is not None and not self._end.done():
                self._end.set_exception(error)

    def _fill(self) -> None:
        """Claim attempts ahead of the senders. When only held outcomes are left, decide about them."""
        lacking = self._batches_ahead - self._batches.qsize()
        if 2 * lacking >= self._batches_ahead:
            size = self._model.batch_size
            attempts = self._queue.take(lacking * size)
            self._put(*(attempts[start : start + size] for start in range(0, len(attempts), size)))
        if self._queue.claimed_elsewhere:
            self._call_later(POLL_SECONDS, self._poll_claimed)
        if self._all_submitted and 0 < len(self._held) == len(self._queue):
            self._admission.raise_if_unreachable()
            self._save_held()

    def _poll_claimed(self) -> None:
        self._queue.recheck_claimed()
        self._fill()

    def _renew_claims(self) -> None:
        if len(self._queue):
            self._queue.store.renew(self._queue.owner)
            self._call_later(CLAIM_SECONDS / 5, self._renew_claims)

    def _call_later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call a method after some seconds, unless it is scheduled already."""

        def due() -> None:
            del self._timers[act]
            if self._stop is None:
                with self._errors_end_run():
                    act()

        if act not in self._timers:
            self._timers[act] = self._loop.call_later(seconds, due)

    async def _send_batches(self) -> None:
        with self._errors_end_run():
            while self._stop is None:
                self._fill()
                await self._send_batch(await self._batches.get())

    async def _send_batch(self, batch: list[Attempt]) -> None:
        requests = [attempt.request for attempt in batch]
        async with self._admission.turn(requests) as reservation:
            retried = batch[0].calls > 0
            self._usage.calls += 1
            self._usage.retries += retried
            for attempt in batch:
                attempt.calls += 1
                self._usage.repairs += attempt.repair > 0 and not retried
            sender = asyncio.current_task()
            self._in_flight.add(sender)
            try:
                replies = await send(self._model, requests, self._config.timeout, self._keys)
            except CallFailed as failure:
                self._count_failure(batch, failure.reason)
                pause = self._admission.failed(reservation, tuple(attempt.key for attempt in batch), failure)
                self._retry(batch, failure.reason, pause)
            else:
                self._admission.replied(reservation, replies)
                self._hold(batch, replies)
            finally:
                self._in_flight.discard(sender)
                for notice in getattr(self._model, "notices", ()):
                    if notice not in self._usage.notices:
                        self._usage.notices.append(notice)

    def _count_failure(self, batch: list[Attempt], reason: str) -> None:
        retries = self._config.retries
        self._usage.count_failure(reason, batch[0].task.row, f"sent again, at most {retries} times" if retries else "")

    def _hold(self, batch: list[Attempt], replies: Sequence[Reply | Refusal]) -> None:
        """Hold the outcomes of a call; save them once the model has replied: earlier failures were the requests' own."""
        for attempt, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Refusal):
                self._usage.count_failure(f"refused: {reply.reason}", attempt.task.row, "not sent again")
            self._held.append((attempt, reply if isinstance(reply, Reply) else Failure("refused", reply.reason)))
        if self._admission.breaker.replied or len(self._held) >= MAX_HELD:
            self._save_held()
        self._admission.raise_if_down()

    def _retry(self, batch: list[Attempt], reason: str, pause: float) -> None:
        """Send a failed batch again later. If its retries are used up, halve it to isolate the request at fault."""
        self._admission.raise_if_down()
        if self._admission.breaker.open:  # neither this failure nor those held need be the requests' fault
            self._put(*self._take_back_failures(), batch)
            return
        for attempt in batch:
            attempt.failures += 1
        failures = batch[0].failures
        if failures <= self._config.retries:
            self._loop.call_later(pause + self._admission.backoff(failures), self._put, batch)
        elif len(batch) > 1:
            for attempt in batch:
                attempt.failures = self._config.retries  # each half gets one more call
            self._put(batch[: len(batch) // 2], batch[len(batch) // 2 :])
        else:
            times = f"failed {batch[0].calls} times, the last: " if batch[0].calls > 1 else "failed: "
            self._held.append((batch[0], Failure("failed", times + reason)))
            if len(self._held) >= MAX_HELD:
                self._save_held()

    def _take_back_failures(self) -> list[list[Attempt]]:
        """Remove the failures from the outcomes held back and return their attempts as batches."""
        failed = [
            attempt for attempt, outcome in self._held if isinstance(outcome, Failure) and outcome.kind == "failed"
        ]
        self._held = [(attempt, outcome) for attempt, outcome in self._held if attempt not in failed]
        return [[attempt] for attempt in failed]

    def _put(self, *batches: list[Attempt]) -> None:
        for batch in batches:
            self._batches.put_nowait(batch)

    def _save_held(self) -> None:
        outcomes, self._held = self._held, []
        self._queue.save(outcomes)
