"""Robustness of the batch engine, and its CPU cost compared with a bare loop on the official client.

    python benchmarks/engine.py [--rows 100000] [--turns 20] [--out benchmarks/results/engine.md]

First: many requests to a server with 30 % faults (tests/llm/engine/faulty_server.py), each run in a process of its own,
and once more on the same store, which must send nothing. Then: requests to the same server without faults, through the
engine with its store and through the bare client with equal concurrency. Clients alternate in many short turns within
one process, so other load on the machine affects all of them. Only the client's CPU time counts, of both its threads.
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
from hardneg.llm.engine.store import ReplyStore  # noqa: E402
from hardneg.llm.protocol import (  # noqa: E402
    Message,
    Request,
    Task,
)
from hardneg.llm.session import answer_tasks  # noqa: E402
from hardneg.llm.usage import UsageStats  # noqa: E402

CONCURRENCY = 64
FAULTY = Behaviour(faults=0.3, bad=0.02, refused=0.002, drip_seconds=10, retry_after="0.01")
CONFIG = EngineConfig(concurrency=CONCURRENCY, timeout=1.5, first_wait=0.1, retries=6)
PATIENT = EngineConfig(concurrency=CONCURRENCY, timeout=60)
RULES = "You describe who would like an item. Answer with a JSON object whose only key is answer. " * 6
CLIENTS = ("bare official client", "engine with store", "engine, requests not kept")


def request(row: int) -> Request:
    """Return a request of about 1,200 characters, as a profile's prompt may have."""
    return Request((Message("system", RULES), Message("user", f"Item {row}: " + f"word{row} " * 60)), 50)


def tasks(rows: int, first: int = 0) -> Iterator[Task[str]]:
    return (Task(row, request(row), parse) for row in range(first, first + rows))


# --- in a process of its own


def run_with_faults(url: str, rows: int, folder: Path) -> dict[str, Any]:
    """Run all tasks and return what became of them."""
    usage, answers_per_row, reasons = UsageStats(), Counter[int](), Counter[str]()

    def watch(snapshot: UsageStats) -> None:
        nonlocal usage
        usage = snapshot
        sys.stderr.write(f"\r{usage}   ")

    with ReplyStore(folder / "replies.sqlite") as store:
        for answer in answer_tasks(tasks(rows), Official(url), store, CONFIG, total=rows, watch=watch):
            answers_per_row[answer.row] += 1
            reasons[answer.reason.partition(":")[0]] += bool(answer.reason)
    return {
        "answered": usage.rows - usage.failed,
        "failed": usage.failed,
        "twice": sum(times > 1 for times in answers_per_row.values()),
        "missing": rows - len(answers_per_row),
        "calls": usage.calls,
        "retries": usage.retries,
        "repairs": usage.repairs,
        "seconds": usage.seconds,
        "cpu": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "store": (folder / "replies.sqlite").stat().st_size / 2**20,
        "reasons": dict(reasons),
    }


def engine_cost(url: str, rows: int, first: int, store: ReplyStore) -> float:
    """Return the engine's CPU milliseconds per request."""
    start = time.process_time()
    answers = list(answer_tasks(tasks(rows, first), Official(url), store, PATIENT))
    seconds = time.process_time() - start
    assert sum(answer.value is not None for answer in answers) == rows
    return seconds / rows * 1e3


def bare_client_cost(url: str, rows: int, first: int) -> float:
    """Return the CPU milliseconds per request of a plain loop on the official client."""
    model = Official(url)
    values: list[str] = []

    async def work(source: Iterator[Task[str]]) -> None:
        for task in source:
            completion = await bare(model.client(), task.request)
            values.append(json.loads(completion.choices[0].message.content)["answer"])

    async def run_all() -> None:
        source = tasks(rows, first)
        await asyncio.gather(*(work(source) for _ in range(CONCURRENCY)))
        await model.aclose()

    start = time.process_time()
    asyncio.run(run_all())
    seconds = time.process_time() - start
    assert len(values) == rows
    return seconds / rows * 1e3


def costs(url: str, rows: int, turns: int, folder: Path) -> list[dict[str, float]]:
    """Return the cost of each client in each turn, after a warm-up turn."""
    measured = []
    with (
        ReplyStore(folder / "whole.sqlite") as whole,
        ReplyStore(folder / "lean.sqlite", keep_requests=False) as lean,
    ):
        for turn in range(turns + 1):
            first = turn * rows
            milliseconds = (
                bare_client_cost(url, rows, first),
                engine_cost(url, rows, first, whole),
                engine_cost(url, rows, first, lean),
            )
            measured.append(dict(zip(CLIENTS, milliseconds, strict=True)))
            print(*(f"{value:.2f}" for value in milliseconds), file=sys.stderr)
    return measured[1:]


def child(benchmark: str, url: str, rows: int, turns: int, folder: Path) -> None:
    result = run_with_faults(url, rows, folder) if benchmark == "faults" else costs(url, rows, turns, folder)
    print(json.dumps(result))


# --- in the first process


def in_process(benchmark: str, url: str, rows: int, turns: int, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--child", benchmark, url, str(rows), str(turns), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    return json.loads(done.stdout)


def fault_table(rows: int, folder: Path) -> list[str]:
    """Run twice on one store and return the report."""
    with FaultyServer(folder / "log", FAULTY) as server:
        runs = [in_process("faults", server.url, rows, 1, folder / "store") for _ in range(2)]
        outcomes = Counter(words[2] for words in server.lines() if words[0] == "arrived")
    titles = [
        ("rows answered", "answered"),
        ("rows failed, with a reason", "failed"),
        ("rows answered twice", "twice"),
        ("rows missing", "missing"),
        ("calls", "calls"),
        ("retries", "retries"),
        ("repair requests", "repairs"),
        ("seconds", "seconds"),
        ("CPU seconds of the client", "cpu"),
        ("peak memory of the client, MiB", "peak"),
        ("store, MiB", "store"),
    ]
    lines = ["| | first run | second run |", "| --- | --- | --- |"]
    lines += [f"| {title} | {runs[0][key]:,.0f} | {runs[1][key]:,.0f} |" for title, key in titles]
    faults = ", ".join(f"{kind} {count:,}" for kind, count in sorted(outcomes.items()) if kind != "-")
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in runs[0]["reasons"].items() if reason) or "none"
    return [*lines, "", f"Requests without a fault: {outcomes['-']:,}. Faults: {faults}.", "", f"Failed: {reasons}."]


def cost_table(rows: int, turns: int, folder: Path) -> list[str]:
    """Measure each client in turn on one server and return the report."""
    with FaultyServer(folder / "log.cost", Behaviour()) as server:
        measured = in_process("costs", server.url, rows, turns, folder / "costs")
    lines = ["| CPU ms per request | median | range | overhead: median | overhead: of the minima |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    baseline = [turn[CLIENTS[0]] for turn in measured]
    for name in CLIENTS:
        values = [turn[name] for turn in measured]
        median = statistics.median(value - bare for value, bare in zip(values, baseline, strict=True))
        overhead = "| |" if values == baseline else f"{median:.2f} | {min(values) - min(baseline):.2f} |"
        lines.append(
            f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f} | {overhead}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the run with faults; 0 to skip it")
    parser.add_argument("--turns", type=int, default=20, help="turns of each client; 0 to skip them")
    parser.add_argument("--turn-rows", type=int, default=500, help="requests per turn")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        benchmark, url, rows, turns, folder = options.child
        child(benchmark, url, int(rows), int(turns), Path(folder))
        return
    lines = ["# The batch engine", ""]
    with tempfile.TemporaryDirectory() as folder:
        if options.turns:
            lines += [f"{options.turns} turns of {options.turn_rows:,} requests each, {CONCURRENCY} concurrent.", ""]
            lines += [*cost_table(options.turn_rows, options.turns, Path(folder)), ""]
        if options.rows:
            lines += [f"{options.rows:,} requests, 30 % of them with a fault, {CONCURRENCY} concurrent.", ""]
            lines += fault_table(options.rows, Path(folder))
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
