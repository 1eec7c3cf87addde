"""What the batch engine withstands, and what it costs beside a bare loop on the official client.

    python benchmarks/engine.py [--rows 100000] [--turns 20] [--out benchmarks/results/engine.md]

First: many requests to a server of which 30 % go wrong (tests/llm/engine/faulty_server.py), each run in a process of its own;
and once more, which must ask nothing. Then: requests to the same server without faults, through the engine with its
store and through the bare client with as many workers, in turn, many short turns in one process, so that whatever else
the machine does meets all of them. Only the client's CPU time is counted, of both its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.llm.engine.clients import Official, bare, parse  # noqa: E402
from tests.llm.engine.faulty_server import Behaviour, FaultyServer  # noqa: E402

from hardneg.llm.engine.config import EngineConfig  # noqa: E402
from hardneg.llm.engine.scheduler import run_tasks  # noqa: E402
from hardneg.llm.engine.store import ReplyStore  # noqa: E402
from hardneg.llm.engine.usage_stats import UsageStats  # noqa: E402
from hardneg.llm.protocol import Message, Request  # noqa: E402
from hardneg.llm.tasks import Task  # noqa: E402

CONCURRENCY = 64
FAULTY = Behaviour(faults=0.3, bad=0.02, refused=0.002, drip_seconds=10, retry_after="0.01")
CONFIG = EngineConfig(concurrency=CONCURRENCY, timeout=1.5, first_wait=0.1, retries=6)
PATIENT = EngineConfig(concurrency=CONCURRENCY, timeout=60)
RULES = "You describe who would like an item. Answer with a JSON object whose only key is answer. " * 6
CLIENTS = ("bare official client", "engine with store", "engine, requests not kept")


def request(row: int) -> Request:
    """About 1,200 characters, as a profile's prompt may have."""
    return Request((Message("system", RULES), Message("user", f"Item {row}: " + f"word{row} " * 60)), 50)


def tasks(rows: int, first: int = 0) -> Iterator[Task[str]]:
    return (Task(row, request(row), parse) for row in range(first, first + rows))


# --- in a process of its own


def withstand(url: str, rows: int, folder: Path) -> dict[str, Any]:
    """Ask everything; what became of it."""
    seen: list[UsageStats] = [UsageStats()]
    rows_seen, reasons = Counter[int](), Counter[str]()

    def watch(tally: UsageStats) -> None:
        seen[0] = tally
        sys.stderr.write(f"\r{tally}   ")

    with ReplyStore(folder / "replies.sqlite") as store:
        for answer in run_tasks(tasks(rows), Official(url), store, CONFIG, total=rows, watch=watch):
            rows_seen[answer.row] += 1
            reasons[answer.reason.partition(":")[0]] += bool(answer.reason)
    tally = seen[0]
    return {
        "answered": tally.rows - tally.failed,
        "listed": tally.failed,
        "twice": sum(times > 1 for times in rows_seen.values()),
        "missing": rows - len(rows_seen),
        "calls": tally.calls,
        "retries": tally.retries,
        "repairs": tally.repairs,
        "seconds": tally.seconds,
        "cpu": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "store": (folder / "replies.sqlite").stat().st_size / 2**20,
        "reasons": dict(reasons),
    }


def cost_of_engine(url: str, rows: int, first: int, store: ReplyStore) -> float:
    """CPU milliseconds a request."""
    start = time.process_time()
    answers = list(run_tasks(tasks(rows, first), Official(url), store, PATIENT))
    taken = time.process_time() - start
    assert sum(answer.value is not None for answer in answers) == rows
    return taken / rows * 1e3


def cost_of_bare_client(url: str, rows: int, first: int) -> float:
    """CPU milliseconds a request of what anybody would write."""
    model = Official(url)
    found: list[str] = []

    async def work(source: Iterator[Task[str]]) -> None:
        for task in source:
            completion = await bare(model.client(), task.request)
            found.append(json.loads(completion.choices[0].message.content)["answer"])

    async def everything() -> None:
        source = tasks(rows, first)
        await asyncio.gather(*(work(source) for _ in range(CONCURRENCY)))
        await model.aclose()

    start = time.process_time()
    asyncio.run(everything())
    taken = time.process_time() - start
    assert len(found) == rows
    return taken / rows * 1e3


def costs(url: str, rows: int, turns: int, folder: Path) -> list[dict[str, float]]:
    """What each client took in each turn; a first turn warms up."""
    taken = []
    with (
        ReplyStore(folder / "whole.sqlite") as whole,
        ReplyStore(folder / "lean.sqlite", keep_requests=False) as lean,
    ):
        for turn in range(turns + 1):
            first = turn * rows
            each = (
                cost_of_bare_client(url, rows, first),
                cost_of_engine(url, rows, first, whole),
                cost_of_engine(url, rows, first, lean),
            )
            taken.append(dict(zip(CLIENTS, each, strict=True)))
            print(*(f"{one:.2f}" for one in each), file=sys.stderr)
    return taken[1:]


def child(what: str, url: str, rows: int, turns: int, folder: Path) -> None:
    found = withstand(url, rows, folder) if what == "withstand" else costs(url, rows, turns, folder)
    print(json.dumps(found))


# --- in the first process


def in_process(what: str, url: str, rows: int, turns: int, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--child", what, url, str(rows), str(turns), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    return json.loads(done.stdout)


def endurance(rows: int, folder: Path) -> list[str]:
    """Two runs over one store."""
    with FaultyServer(folder / "log", FAULTY) as server:
        runs = [in_process("withstand", server.url, rows, 1, folder / "store") for _ in range(2)]
        fates = Counter(words[2] for words in server.lines() if words[0] == "arrived")
    named = [
        ("rows answered", "answered"),
        ("rows listed with their reason", "listed"),
        ("rows that came twice", "twice"),
        ("rows missing", "missing"),
        ("calls", "calls"),
        ("of them repeated", "retries"),
        ("asked again after a bad reply", "repairs"),
        ("seconds", "seconds"),
        ("seconds of the client's CPU", "cpu"),
        ("peak memory of the client, MiB", "peak"),
        ("store, MiB", "store"),
    ]
    lines = ["| | first run | second run |", "| --- | --- | --- |"]
    lines += [f"| {title} | {runs[0][key]:,.0f} | {runs[1][key]:,.0f} |" for title, key in named]
    met = ", ".join(f"{kind} {count:,}" for kind, count in sorted(fates.items()) if kind != "-")
    listed = ", ".join(f"{reason} {count:,}" for reason, count in runs[0]["reasons"].items() if reason) or "none"
    return [*lines, "", f"The server did: nothing wrong {fates['-']:,}, {met}.", "", f"Listed: {listed}."]


def cost(rows: int, turns: int, folder: Path) -> list[str]:
    """Each client in turn, on one server."""
    with FaultyServer(folder / "log.cost", Behaviour()) as server:
        taken = in_process("costs", server.url, rows, turns, folder / "costs")
    lines = ["| CPU ms a request | median | lowest to highest | above the bare client: median | lowest to lowest |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    theirs = [turn[CLIENTS[0]] for turn in taken]
    for name in CLIENTS:
        ours = [turn[name] for turn in taken]
        above = statistics.median(one - bare for one, bare in zip(ours, theirs, strict=True))
        said = "| |" if ours == theirs else f"{above:.2f} | {min(ours) - min(theirs):.2f} |"
        lines.append(f"| {name} | {statistics.median(ours):.2f} | {min(ours):.2f} to {max(ours):.2f} | {said}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="of the run with faults; 0 leaves it out")
    parser.add_argument("--turns", type=int, default=20, help="of each client; 0 leaves them out")
    parser.add_argument("--turn-rows", type=int, default=500)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, url, rows, turns, folder = given.child
        child(what, url, int(rows), int(turns), Path(folder))
        return
    lines = ["# The batch engine", ""]
    with tempfile.TemporaryDirectory() as folder:
        if given.turns:
            lines += [f"{given.turns} turns of {given.turn_rows:,} requests each, {CONCURRENCY} at a time.", ""]
            lines += [*cost(given.turn_rows, given.turns, Path(folder)), ""]
        if given.rows:
            lines += [f"{given.rows:,} requests, of which 30 % meet a fault, {CONCURRENCY} at a time.", ""]
            lines += endurance(given.rows, Path(folder))
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
