"""Tasks side by side in separate processes: a task that fails, or whose process dies, is an outcome and stops no other."""

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

from hardneg import artifacts
from hardneg.errors import HardnegError
from hardneg.types import Progress

REPORT_SECONDS = 0.5
"""Least time between two reports of a task's progress."""


class PoolTask(Protocol):
    """Work that can be sent to another process."""

    @property
    def name(self) -> str:
        """Name for people."""
        ...

    def run(self, progress: Progress) -> None:
        """Do the work; its results are folders."""
        ...


@dataclass(frozen=True)
class Outcome:
    """The end of a task. reason: None where it succeeded, else why it failed."""

    name: str
    reason: str | None = None


Ended = Callable[[int, int, Outcome], None]
"""Called with (tasks ended, tasks in all, outcome of the last one)."""


def run_pool(
    tasks: Sequence[PoolTask], workers: int, *, ended: Ended | None = None, progress: Progress | None = None
) -> list[Outcome]:
    """Run all tasks, and return their outcomes in the order of the tasks.

    workers: number of processes; 0 runs everything in this process. torch runs on one thread either way.
    """
    outcomes: dict[int, Outcome] = {}
    progress = progress or (lambda _what, _done, _total: None)
    here = ((number, _outcome_of(task, progress)) for number, task in enumerate(tasks))
    for number, outcome in here if workers == 0 else _run_side_by_side(tasks, workers, progress):
        outcomes[number] = outcome
        if ended is not None:
            ended(len(outcomes), len(tasks), outcome)
    return [outcomes[number] for number in range(len(tasks))]


def _outcome_of(task: PoolTask, progress: Progress) -> Outcome:
    import torch

    torch.set_num_threads(1)  # the same bits, however many workers
    try:
        task.run(progress)
    except Exception as error:  # noqa: BLE001 - no failure of one task may stop the others; it is reported in full
        kind = "" if isinstance(error, HardnegError) else f"{type(error).__name__}: "
        return Outcome(task.name, kind + " ".join(str(error).split()))
    return Outcome(task.name)


class _Worker:
    """A process that runs one task after another, and the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")  # fresh: torch's threads do not survive a fork
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_run_tasks_from, args=(far_end, artifacts.is_trusting()), daemon=True)
        self.process.start()
        far_end.close()  # so that the pipe ends with the process
        self.number, self.name = -1, ""

    def send(self, number: int, task: PoolTask) -> None:
        """Send the next task; `receive` notices a process that died meanwhile."""
        self.number, self.name = number, task.name
        with suppress(OSError):
            self.pipe.send(task)

    def receive(self) -> Outcome | tuple[str, int, int]:
        """Return the next message: progress or an outcome, a failure where the process died."""
        try:
            message: Outcome | tuple[str, int, int] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code, cause = self.process.exitcode, f"exit code {self.process.exitcode}"
            if code is not None and code < 0:
                hint = "; out of memory, perhaps" if -code == signal.SIGKILL else ""
                cause = f"{signal.Signals(-code).name}{hint}"
            return Outcome(self.name, f"its process died ({cause})")
        return message

    def stop(self) -> None:
        """Stop the process, whatever it is doing."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _run_side_by_side(tasks: Sequence[PoolTask], workers: int, progress: Progress) -> Iterator[tuple[int, Outcome]]:
    waiting = deque(enumerate(tasks))
    busy: dict[Connection, _Worker] = {}
    idle: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = idle.pop() if idle else _Worker()
                worker.send(*waiting.popleft())
                busy[worker.pipe] = worker
            ready = wait(list(busy))
            for worker in [worker for pipe, worker in busy.items() if pipe in ready]:
                number, message = worker.number, worker.receive()
                if not isinstance(message, Outcome):
                    progress(*message)
                    continue
                del busy[worker.pipe]
                if worker.process.is_alive():
                    idle.append(worker)
                else:
                    worker.stop()
                yield number, message
    finally:
        for worker in (*busy.values(), *idle):
            worker.stop()


def _run_tasks_from(pipe: Connection, trusted: bool) -> None:
    """Run tasks in a worker process until the pipe ends, so that nothing goes on training without its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; checkpoints stay
    last_report = 0.0

    def report(what: str, done: int, total: int) -> None:
        """Send the last report of a piece of work, and few of the others."""
        nonlocal last_report
        if done == total or time.monotonic() - last_report > REPORT_SECONDS:
            last_report = time.monotonic()
            pipe.send((what, done, total))

    with suppress(EOFError, OSError), artifacts.trusting(trusted):
        while True:
            pipe.send(_outcome_of(pipe.recv(), report))
