"""Tasks side by side: the order of outcomes, a failure, a process that is killed."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from hardneg.studies import process_pool

MODULE = """
import os, signal
from dataclasses import dataclass
from hardneg.errors import DataError

@dataclass(frozen=True)
class Task:
    name: str

    def run(self, progress):
        progress(self.name, 1, 2)
        if self.name == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.name == "fails":
            raise DataError("found nothing")
        if self.name == "bug":
            1 / 0
        progress(self.name, 2, 2)
"""
NAMES = ["one", "dies", "two", "fails", "bug", "three"]


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tasks of a module that other processes can import."""
    name = f"tasks_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return __import__(name).Task


def test_a_killed_process_and_a_failure_cost_their_own_task_alone(tasks: Any) -> None:
    ended: list[tuple[int, int]] = []
    told: set[tuple[str, int, int]] = set()
    outcomes = process_pool.run_pool(
        [tasks(name) for name in NAMES],
        2,
        ended=lambda done, total, _: ended.append((done, total)),
        progress=lambda *said: told.add(said),
    )
    assert [outcome.name for outcome in outcomes] == NAMES
    reasons = [outcome.reason for outcome in outcomes]
    assert [reason is None for reason in reasons] == [True, False, True, False, False, True]
    assert reasons[1] == "its process died (SIGKILL; out of memory, perhaps)"
    assert reasons[3] == "found nothing"
    assert "ZeroDivisionError" in str(reasons[4])
    assert ended == [(n, 6) for n in range(1, 7)]
    assert ("three", 2, 2) in told


def test_this_process_does_the_same_with_what_does_not_kill_it(tasks: Any) -> None:
    outcomes = process_pool.run_pool([tasks(name) for name in ("one", "fails", "bug")], 0)
    assert [outcome.reason is None for outcome in outcomes] == [True, False, False]


def test_ctrl_c_ends_the_workers(tasks: Any) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_pool.run_pool([tasks("one"), tasks("two")], 1, ended=interrupt)
    assert not multiprocessing.active_children()


def test_nothing_to_do_is_no_error() -> None:
    assert process_pool.run_pool([], 3) == []
