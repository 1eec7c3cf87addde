"""Tasks that wait for replies: tasks with equal requests share one reply, and a stored reply is never requested again."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hardneg.llm.engine.store import Failure, ReplyOutcome, ReplyStore, StoredReply, request_key, this_process
from hardneg.llm.protocol import (
    BadReply,
    ChatModel,
    Message,
    Reply,
    Request,
    Task,
    TaskAnswer,
    Usage,
    estimate_tokens,
)
from hardneg.llm.usage import UsageStats

_run_numbers = itertools.count()


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt at a task: its own request, or a repair request after an unusable reply.

    repair: number of unusable replies so far. reply: the last of them. earlier_calls: calls made for the task's earlier
    requests. fresh: some reply to the task was requested in this run. calls: calls made for this request. failures: how
    many of them failed and count towards the retries.
    """

    task: Task[Any]
    request: Request
    key: str
    repair: int = 0
    reply: Reply | None = None
    earlier_calls: int = 0
    fresh: bool = False
    calls: int = 0
    failures: int = 0


class TaskQueue:
    """Tasks come in by `add`, attempts to send go out by `take`, outcomes come back by `save`; `emit` gets the answers.

    Attempts with the same request wait together; the first of them stands for all. Everything here runs in one thread.
    claimed_elsewhere: attempts whose requests another process has claimed.
    """

    def __init__(
        self,
        model: ChatModel,
        store: ReplyStore,
        repairs: int,
        usage: UsageStats,
        emit: Callable[[TaskAnswer[Any]], None],
    ) -> None:
        self._model, self.store, self._usage, self._emit = model, store, usage, emit
        self._max_repairs, self._identity, self._chat_markers = repairs, model.identity, model.chat_markers
        self.owner = f"{this_process()}|{next(_run_numbers)}"
        self._waiting: dict[str, list[Attempt]] = {}
        self._pending: deque[Attempt] = deque()
        self.claimed_elsewhere: list[Attempt] = []

    def __len__(self) -> int:
        """Number of distinct requests without an outcome."""
        return len(self._waiting)

    def add(self, tasks: Iterable[Task[Any]]) -> None:
        """Add tasks; those whose replies are in the store are answered at once."""
        self._enqueue([Attempt(task, task.request, request_key(task.request, self._identity)) for task in tasks])

    def take(self, n: int) -> list[Attempt]:
        """Claim up to n pending attempts to send; [] if none is pending."""
        taken: list[Attempt] = []
        while self._pending and len(taken) < n:
            candidates = [self._pending.popleft() for _ in range(min(n - len(taken), len(self._pending)))]
            claim = self.store.claim([attempt.key for attempt in candidates], self.owner)
            self.claimed_elsewhere += [attempt for attempt in candidates if attempt.key in claim.denied]
            self._resolve_known(candidates, claim.outcomes)
            taken += [attempt for attempt in candidates if attempt.key in claim.granted]
        return taken

    def recheck_claimed(self) -> None:
        """Make the requests that other processes had claimed pending again, so that `take` looks them up."""
        self._pending.extendleft(reversed(self.claimed_elsewhere))
        self.claimed_elsewhere.clear()

    def save(self, outcomes: Sequence[tuple[Attempt, ReplyOutcome]]) -> None:
        """Store the outcomes of calls, then answer the tasks that waited for them."""
        rows = [StoredReply(attempt.key, attempt.request, outcome, attempt.repair) for attempt, outcome in outcomes]
        self.store.save(rows, self._model.name)
        for attempt, outcome in outcomes:
            self._resolve(attempt, outcome, fresh=True)

    def _enqueue(self, attempts: list[Attempt]) -> None:
        """Let attempts wait for their replies; those with a new request become pending unless the store has a reply."""
        new: list[Attempt] = []
        for attempt in attempts:
            waiting = self._waiting.setdefault(attempt.key, [])
            waiting.append(attempt)
            if len(waiting) == 1:
                new.append(attempt)
        known = self.store.known([attempt.key for attempt in new])
        self._pending.extend(attempt for attempt in new if attempt.key not in known)
        self._resolve_known(new, known)

    def _resolve_known(self, attempts: list[Attempt], outcomes: dict[str, ReplyOutcome]) -> None:
        for attempt in attempts:
            if (outcome := outcomes.get(attempt.key)) is not None:
                self._resolve(attempt, self._with_usage(attempt.request, outcome), fresh=False)

    def _with_usage(self, request: Request, outcome: ReplyOutcome) -> ReplyOutcome:
        """Return a stored outcome, with estimated tokens where earlier versions stored counts that cannot be right."""
        if isinstance(outcome, Failure) or (outcome.usage.prompt_tokens > 0 <= outcome.usage.answer_tokens):
            return outcome
        usage = Usage(self._model.count_tokens(request), estimate_tokens(outcome.text), estimated=True)
        return replace(outcome, usage=usage)

    def _resolve(self, first: Attempt, outcome: ReplyOutcome, *, fresh: bool) -> None:
        """Answer every task that waits for this request, or enqueue its repair request."""
        repairs: list[Attempt] = []
        for attempt in self._waiting.pop(first.key):
            attempt.fresh |= fresh
            if isinstance(outcome, Failure):
                before = f"after {attempt.repair} bad: " if attempt.repair else ""
                self._answer(attempt, None, before + outcome.reason)
                continue
            attempt.reply = outcome = replace(outcome, limit=attempt.request.max_tokens)
            try:
                value = attempt.task.parse(outcome)
            except BadReply as bad:
                self._usage.bad += 1
                repeated = f"asked again, at most {self._max_repairs} times" if self._max_repairs else "not asked again"
                self._usage.count_failure(f"bad reply: {bad.reason}", attempt.task.row, repeated)
                if attempt.repair < self._max_repairs:
                    task, number = attempt.task, attempt.repair + 1
                    request = repair_request(task.request, bad.reason, number, self._chat_markers)
                    key, calls = request_key(request, self._identity), attempt.earlier_calls + attempt.calls
                    repairs.append(Attempt(task, request, key, number, attempt.reply, calls, attempt.fresh))
                else:
                    before = f"{attempt.repair + 1} bad replies, the last: " if attempt.repair else "bad reply: "
                    self._answer(attempt, None, before + bad.reason)
            else:
                self._answer(attempt, value, "")
        if repairs:
            self._enqueue(repairs)

    def _answer(self, attempt: Attempt, value: object, reason: str) -> None:
        self._usage.rows += 1
        self._usage.stored += not attempt.fresh
        self._usage.failed += bool(reason)
        self._emit(TaskAnswer(attempt.task.row, value, reason, attempt.reply, attempt.earlier_calls + attempt.calls))


MAX_REASON = 300
"""Characters of a reason that are quoted."""
INSTRUCTION = "(Answer number {attempt} could not be used: {reason}. Answer what is asked above again, exactly in the form asked for.)"


def repair_request(request: Request, reason: str, attempt: int, chat_markers: tuple[str, ...]) -> Request:
    """Return the request that follows unusable reply number `attempt` (1, 2, ...): a sentence on the problem is added.

    At temperature 0 the same prompt would bring the same reply, and a higher temperature would change the model's
    behaviour. The sentence leaves the prompt's prefix as it was and needs no turn that a chat template may refuse. It
    is a function of the earlier replies, so a second run finds the repaired reply in the store. reason: the problem of
    that reply. It may quote the reply, so chat markers are removed from it.
    """
    instruction = INSTRUCTION.format(attempt=attempt, reason=_clean_reason(reason, chat_markers))
    *before, last = request.messages
    if last.role == "user":
        messages = (*before, Message("user", f"{last.content}\n\n{instruction}"))
    else:
        messages = (*request.messages, Message("user", instruction))
    return replace(request, messages=messages)


def _clean_reason(reason: str, chat_markers: tuple[str, ...]) -> str:
    """Remove control characters and chat markers, repeatedly: removing one marker may join the parts of another."""
    text = "".join(letter if letter.isprintable() else " " for letter in reason)
    while found := [marker for marker in chat_markers if marker.strip() and marker in text]:
        for marker in found:
            text = text.replace(marker, " ")
    return " ".join(text.split())[:MAX_REASON].rstrip(".")
