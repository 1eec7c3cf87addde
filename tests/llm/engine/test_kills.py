"""Killed runs continue without sending stored requests again; concurrent runs share the work."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.llm.engine.faulty_server import FAULTS, FaultyServer, Serve, digest_of, servers
from tests.llm.engine.stored import stored_failures, stored_replies

from hardneg.llm.engine.store import ReplyStore

ROWS, KILLS, CONCURRENCY = 600, 10, 16
ROOT = Path(__file__).parents[3]
SWIFT = [fault for fault in FAULTS if fault not in {"hang", "drip"}]
FATES = {"faults": 0.3, "kinds": SWIFT, "faulty_arrivals": 3, "bad": 0.1, "refused": 0.02, "delay": 0.01}
"""The first faults of a prompt may differ between runs, its result may not: from the fourth arrival on there are none.
No call times out, so an answer that was not stored was in flight when a process was killed."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with servers(tmp_path) as start:
        yield start


def start(store: Path, server: FaultyServer, first: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.llm.engine.child_process", str(store), server.url, str(ROWS), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def finish(process: subprocess.Popen[str]) -> dict[str, list[str]]:
    """Return every row's value and reason."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    rows: dict[str, list[str]] = json.loads(out)
    assert len(rows) == ROWS
    return rows


def kill(process: subprocess.Popen[str]) -> None:
    assert process.poll() is None, "it must be running when it is killed"
    process.kill()
    process.communicate()


def wait_for(arrivals: float, server: FaultyServer) -> None:
    deadline = time.monotonic() + 60
    while len(server.arrived()) < arrivals:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.01)


def stored(path: Path) -> set[str]:
    """Return the prompts with an outcome in the store, by their digest in the server's log."""
    with ReplyStore(path) as store:
        rows = store._db.execute("SELECT request FROM replies UNION ALL SELECT request FROM failures").fetchall()
    return {digest_of(text for _, text in json.loads(row[0])["messages"]) for row in rows}


def content(path: Path) -> dict[str, str]:
    """Return every key with its reply or reason."""
    with ReplyStore(path) as store:
        return {key: reply.text for key, reply in stored_replies(store).items()} | {
            k: str(why) for k, why in stored_failures(store).items()
        }


def answered(server: FaultyServer) -> Counter[str]:
    """Return how often each prompt was answered completely."""
    return Counter(words[1] for words in server.lines() if words[0] == "answered")


@pytest.mark.slow
def test_run_killed_ten_times_ends_like_an_unbroken_one(serve: Serve, tmp_path: Path) -> None:
    """A kill loses the calls in flight, at most one per sender; no stored request is sent again."""
    server, rng, path = serve(**FATES), Random(4), tmp_path / "killed"
    stored_before: set[str] = set()
    n_arrived = 0
    for number in range(KILLS):
        process = start(path, server)
        wait_for(max(n_arrived + 1, (number + rng.random()) * ROWS / KILLS), server)
        time.sleep(rng.random() * 0.05)
        kill(process)
        time.sleep(0.1)  # requests in flight arrive
        assert not stored_before & set(server.arrived()[n_arrived:]), "a stored request was sent again"
        stored_before, n_arrived = stored(path), len(server.arrived())
    broken = finish(start(path, server))
    assert not stored_before & set(server.arrived()[n_arrived:])
    twice = sum(times - 1 for times in answered(server).values())
    assert twice <= KILLS * CONCURRENCY, "each was in flight at a kill"

    with FaultyServer(tmp_path / "other.log", server.behaviour) as other:
        assert finish(start(tmp_path / "unbroken", other)) == broken
    assert content(path) == content(tmp_path / "unbroken")


def test_processes_on_one_store_send_nothing_twice(serve: Serve, tmp_path: Path) -> None:
    server, path = serve(**FATES | {"kinds": ["limit", "error", "half", "reset"]}), tmp_path / "shared"
    processes = [start(path, server, first) for first in (0, 0, ROWS // 3)]
    first, second, third = (finish(process) for process in processes)
    assert first == second == third
    assert set(answered(server).values()) == {1}
    assert stored(path) >= answered(server).keys()


def test_process_takes_over_the_claims_of_a_killed_one(serve: Serve, tmp_path: Path) -> None:
    server, path = serve(delay=0.02), tmp_path / "shared"
    first, second = start(path, server), start(path, server)
    wait_for(ROWS / 4, server)
    kill(first)
    finish(second)
    twice = [digest for digest, times in answered(server).items() if times > 1]
    assert len(twice) <= CONCURRENCY
