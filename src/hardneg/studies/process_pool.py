"""Tasks side by side in processes of their own: one that fails or dies is an outcome, not the end of the others."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Protocol

from hardneg.errors import HardnegError
from hardneg.types import Progress

REPORT_SECONDS = 0.5
"""A task's progress is told no more often, and no less often than its steps allow."""


class Task(Protocol):
    """Work that can be sent to another process."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def do(self, progress: Progress) -> None:
        """Do the work; what it makes lies in folders."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a task ended. reason: None where it was done, else why it was not."""

    name: str
    reason: str | None = None


Ended = Callable[[int, int, Outcome], None]
"""Called with (tasks ended, tasks in all, how the last one ended)."""


def run(
    tasks: Sequence[Task], workers: int, *, ended: Ended | None = None, progress: Progress | None = None
) -> list[Outcome]:
    """Do all tasks, and return how each ended, in the order of the tasks.

    workers: processes; 0 does everything in this process, one after another. torch runs on one thread either way.
    """
    outcomes: dict[int, Outcome] = {}
    for number, outcome in _here(tasks, progress) if workers == 0 else _side_by_side(tasks, workers, progress):
        outcomes[number] = outcome
        if ended is not None:
            ended(len(outcomes), len(tasks), outcome)
    return [outcomes[number] for number in range(len(tasks))]


def seldom(progress: Progress) -> Progress:
    """Pass on what is said, the last word always and others now and then."""
    told = 0.0

    def say(what: str, done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            progress(what, done, total)

    return say


def _here(tasks: Sequence[Task], progress: Progress | None) -> Iterator[tuple[int, Outcome]]:
    for number, task in enumerate(tasks):
        yield number, _outcome(task, progress or _silent)


def _outcome(task: Task, progress: Progress) -> Outcome:
    import torch

    torch.set_num_threads(1)  # the same bits, however many workers
    try:
        task.do(progress)
    except HardnegError as error:
        return Outcome(task.name, " ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 - whatever one task met must not stop the others; it is told in full
        return Outcome(task.name, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Outcome(task.name)


def _silent(what: str, done: int, total: int) -> None:
    """Say nothing."""


class _Worker:
    """A process that does one task after another, and the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")  # fresh: torch's threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that its death ends the pipe
        self.number, self.name = -1, ""

    def give(self, number: int, task: Task) -> None:
        """Hand over the next task; a process that died meanwhile is noticed by `hear`."""
        self.number, self.name = number, task.name
        with suppress(OSError):
            self.pipe.send(task)

    def hear(self) -> Outcome | tuple[str, int, int]:
        """The next word: progress or an outcome; the outcome is a failure where the process died."""
        try:
            word: Outcome | tuple[str, int, int] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return Outcome(self.name, f"its process died ({_cause(self.process.exitcode)})")
        return word

    def end(self) -> None:
        """Stop the process, whatever it does."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    hint = "; out of memory, perhaps" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{hint}"


def _side_by_side(tasks: Sequence[Task], workers: int, progress: Progress | None) -> Iterator[tuple[int, Outcome]]:
    waiting = deque(enumerate(tasks))
    busy: dict[Connection, _Worker] = {}

    def start(worker: _Worker) -> None:
        worker.give(*waiting.popleft())
        busy[worker.pipe] = worker

    try:
        while waiting and len(busy) < workers:
            start(_Worker())
        while busy:
            ready = wait(list(busy))
            for worker in [worker for pipe, worker in busy.items() if pipe in ready]:
                number, word = worker.number, worker.hear()
                if not isinstance(word, Outcome):
                    (progress or _silent)(*word)
                    continue
                del busy[worker.pipe]
                if (successor := _successor(worker, more=bool(waiting))) is not None:
                    start(successor)
                yield number, word
    finally:
        for worker in busy.values():
            worker.end()


def _successor(worker: _Worker, *, more: bool) -> _Worker | None:
    """Who does the next task, if there is one: the same process while it lives."""
    if more and worker.process.is_alive():
        return worker
    worker.end()
    return _Worker() if more else None


def _serve(pipe: Connection) -> None:
    """The life of a worker process. It ends with the pipe: nothing goes on training for a parent that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; checkpoints stay
    with suppress(EOFError, OSError):
        while True:
            task: Task = pipe.recv()
            pipe.send(_outcome(task, seldom(lambda *said: pipe.send(said))))
