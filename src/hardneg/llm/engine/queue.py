"""Who waits for which reply: rows with equal requests share a job, and jobs that somebody answered are never asked."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hardneg.llm.engine.claims import Owner
from hardneg.llm.engine.reply_repair import again
from hardneg.llm.engine.store import Failure, ReplyOutcome, ReplyStore, StoredReply, request_key
from hardneg.llm.engine.usage_stats import UsageCounter
from hardneg.llm.protocol import ChatModel, Reply
from hardneg.llm.tasks import BadReply, Task, TaskAnswer

_runs = itertools.count()


class WaitingRow:
    """A task on its way. attempt: 0, or how often its reply was bad; fresh: did anybody ask for it in this run?"""

    __slots__ = ("asked", "attempt", "fresh", "reply", "request", "task")

    def __init__(self, task: Task[Any]) -> None:
        self.task = task
        self.request = task.request
        self.reply: Reply | None = None
        self.attempt = self.asked = 0
        self.fresh = False


class QueuedTask:
    """A request to be asked once, and the rows that wait for its reply. asked: calls made for it."""

    __slots__ = ("asked", "attempt", "key", "request", "rows")

    def __init__(self, key: str, row: WaitingRow) -> None:
        self.key, self.request, self.attempt = key, row.request, row.attempt
        self.rows = [row]
        self.asked = 0


class TaskQueue:
    """Rows come in, jobs go out to be asked, outcomes come back, answers leave through `emit`.

    All of it is bookkeeping in one thread: nothing here waits, but for the store.
    """

    def __init__(
        self,
        model: ChatModel,
        store: ReplyStore,
        repairs: int,
        counts: UsageCounter,
        emit: Callable[[TaskAnswer[Any]], None],
    ) -> None:
        self._model, self._store, self._counts, self._emit = model, store, counts, emit
        self._re_asks, self._identity, self._foreign = repairs, model.identity, model.chat_markers
        self.owner = f"{Owner.here()}|{next(_runs)}"
        self._jobs: dict[str, QueuedTask] = {}
        self._pending: deque[QueuedTask] = deque()
        self._theirs: dict[str, QueuedTask] = {}

    def __len__(self) -> int:
        """Jobs without an outcome."""
        return len(self._jobs)

    @property
    def waits_for_others(self) -> bool:
        """Is any job being asked by another process?"""
        return bool(self._theirs)

    def add(self, tasks: Iterable[Task[Any]]) -> None:
        """Take in tasks; those whose replies are in the store are answered at once."""
        self._open([WaitingRow(task) for task in tasks])

    def take(self, jobs: int) -> list[QueuedTask]:
        """Jobs that are ours to ask now, about as many as wanted; none where nothing is pending."""
        ours: list[QueuedTask] = []
        while self._pending and len(ours) < jobs:
            wanted = [self._pending.popleft() for _ in range(min(jobs - len(ours), len(self._pending)))]
            ours += self._claim(wanted)
        return ours

    def look_again(self) -> None:
        """See what became of the jobs that others ask; those that they gave up are pending again."""
        jobs = list(self._theirs.values())
        self._theirs.clear()
        self._pending.extendleft(reversed(jobs))

    def save(self, outcomes: Sequence[tuple[QueuedTask, ReplyOutcome]]) -> None:
        """Store what calls of ours brought, then tell the rows."""
        found = [StoredReply(job.key, job.request, outcome, job.attempt) for job, outcome in outcomes]
        self._store.save(found, self._model.name)
        for job, outcome in outcomes:
            self._settle(job, outcome, fresh=True)

    def renew(self) -> None:
        """Hold on to our claims."""
        self._store.renew(self.owner)

    def release(self) -> None:
        """Give up our claims."""
        self._store.release(self.owner)

    def _open(self, rows: list[WaitingRow]) -> None:
        """Find each row the job that brings its reply; look up new jobs together."""
        new: list[QueuedTask] = []
        for row in rows:
            key = request_key(row.request, self._identity)
            job = self._jobs.get(key)
            if job is None:
                self._jobs[key] = job = QueuedTask(key, row)
                new.append(job)
            else:
                job.rows.append(row)
        known = self._store.known([job.key for job in new])
        self._pending.extend(job for job in new if job.key not in known)
        self._settle_known(new, known)

    def _claim(self, jobs: list[QueuedTask]) -> list[QueuedTask]:
        claimed = self._store.claim([job.key for job in jobs], self.owner)
        self._theirs |= {job.key: job for job in jobs if job.key in claimed.theirs}
        self._settle_known(jobs, claimed.known)
        return [job for job in jobs if job.key in claimed.ours]

    def _settle_known(self, jobs: list[QueuedTask], known: dict[str, ReplyOutcome]) -> None:
        for job in jobs:
            if (outcome := known.get(job.key)) is not None:
                self._settle(job, outcome, fresh=False)

    def _settle(self, job: QueuedTask, outcome: ReplyOutcome, *, fresh: bool) -> None:
        """A job has its outcome: each of its rows reads it for itself. Its calls count for the first."""
        del self._jobs[job.key]
        job.rows[0].asked += job.asked
        bad: list[WaitingRow] = []
        for row in job.rows:
            row.fresh |= fresh
            if isinstance(outcome, Failure):
                self._fail(row, outcome.reason)
            elif not self._read(row, outcome):
                bad.append(row)
        if bad:
            self._open(bad)

    def _read(self, row: WaitingRow, reply: Reply) -> bool:
        """Answer the row, or return False where it has to be asked again."""
        row.reply = reply
        try:
            value = row.task.parse(reply)
        except BadReply as bad:
            return self._give_up(row, bad.reason)
        self._finish(row, TaskAnswer(row.task.row, value, "", reply, row.asked))
        return True

    def _give_up(self, row: WaitingRow, reason: str) -> bool:
        """After a bad reply: list the row, or return False with its next request made."""
        self._counts.bad += 1
        if row.attempt >= self._re_asks:
            replies = f"{row.attempt + 1} bad replies, the last: " if row.attempt else "bad reply: "
            self._finish(row, TaskAnswer(row.task.row, None, replies + reason, row.reply, row.asked))
            return True
        row.attempt += 1
        row.request = again(row.task.request, reason, row.attempt, self._foreign)
        return False

    def _fail(self, row: WaitingRow, reason: str) -> None:
        before = f"after {row.attempt} bad: " if row.attempt else ""
        self._finish(row, TaskAnswer(row.task.row, None, before + reason, row.reply, row.asked))

    def _finish(self, row: WaitingRow, answer: TaskAnswer[Any]) -> None:
        self._counts.rows += 1
        self._counts.stored += not row.fresh
        self._counts.failed += bool(answer.reason)
        self._emit(answer)
