"""Libraries as separate processes that take turns, and tables of their times."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hardneg
from hardneg.data import Split

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peer_libraries"
PEER_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
EMBEDDING_SIZE = 64


@dataclass(frozen=True)
class Entry:
    """A process: its name in the tables, and the script with its arguments."""

    name: str
    script: str
    arguments: tuple[str, ...]

    @property
    def python(self) -> str:
        return sys.executable if self.script == "ours.py" else str(PEER_PYTHON)


def export(split: Split, folder: Path) -> None:
    """Write the input of every process: pairs (n, 2) by part, and random tables for the evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "valid", "test"):
        pairs = getattr(split, name)
        np.save(folder / f"{name}.npy", np.stack([pairs.users, pairs.items], axis=1))
    rng = np.random.default_rng(0)
    for name, rows in (("users", split.train.n_users), ("items", split.train.n_items)):
        np.save(folder / f"{name}.npy", rng.standard_normal((rows, EMBEDDING_SIZE)).astype(np.float32))


def environment() -> dict[str, str]:
    """Return an environment with one thread, in which our process imports the same hardneg as this one."""
    return os.environ | ONE_THREAD | {"PYTHONPATH": str(Path(str(hardneg.__file__)).parents[1])}


def run_peer(script: str, *arguments: str, folder: Path) -> dict[str, Any]:
    """Run a peer's script in `folder`; return its answer, one line of JSON."""
    command = [str(PEER_PYTHON), str(PEERS / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def require_peers() -> None:
    if not PEER_PYTHON.exists():
        raise SystemExit("found no .venv-peers; make it with: make .venv-peers/done")


class PeerProcess:
    """A process that waits for a line, works, and answers with a line of JSON."""

    def __init__(self, entry: Entry, data: Path) -> None:
        self.entry = entry
        self.log = data / f"{entry.script}-{'-'.join(entry.arguments)}.log"
        command = [entry.python, str(PEERS / entry.script), str(data), *entry.arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=data,
                env=environment(),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.about = self._answer()

    def run(self, line: str) -> dict[str, Any]:
        """Run an action; return wall and CPU seconds, and metrics."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.communicate("quit\n")

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{self.entry.name} ended:\n{self.log.read_text()[-2000:]}")
        return json.loads(line)


Answers = Mapping[str, Sequence[Mapping[str, Any]]]
"""PeerProcess -> its answers, one a repeat."""


def take_turns(
    entries: Sequence[Entry], line: str, data: Path, repeats: int
) -> tuple[Answers, dict[str, dict[str, Any]]]:
    """Run an action once unmeasured, then in turn `repeats` times; return answers, and information on each process."""
    started: list[PeerProcess] = []
    try:
        for entry in entries:
            started.append(PeerProcess(entry, data))
        about = {process.entry.name: process.about for process in started}
        ready = [process for process in started if "skip" not in process.about]
        for process in ready:
            process.run(line)
        answers: dict[str, list[Mapping[str, Any]]] = {process.entry.name: [] for process in ready}
        for repeat in range(repeats):
            for process in ready[repeat % len(ready) :] + ready[: repeat % len(ready)]:  # rotate the order
                answers[process.entry.name].append(process.run(line))
        return answers, about
    finally:
        for process in started:
            process.stop()


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Format as median [min, max]."""
    return " ".join(
        [f"{statistics.median(values):.{digits}f}", f"[{min(values):.{digits}f}, {max(values):.{digits}f}]"]
    )


def seconds_table(answers_of: Answers) -> str:
    """Return a table with a row per process: seconds and metrics."""
    metrics = sorted({name for answers in answers_of.values() for name in answers[0]} - {"wall", "cpu"})
    head = ["", "wall seconds, median [min, max]", "CPU seconds, median", *metrics]
    rows = [head, ["---"] * len(head)]
    for name, answers in answers_of.items():
        wall, cpu = ([answer[clock] for answer in answers] for clock in ("wall", "cpu"))
        values = [f"{answers[0][metric]:.6f}" if metric in answers[0] else "–" for metric in metrics]
        rows.append([name, spread(wall, 3), f"{statistics.median(cpu):.3f}", *values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def ratio_table(answers_of: Answers, pairs: Sequence[tuple[str, str]], clock: str) -> str:
    """Return a table of the peer's seconds / ours within each repeat, for pairs of names that both took part."""
    rows = ["| compared | times as fast, median [min, max] |", "| --- | --- |"]
    for peer, own in pairs:
        if peer in answers_of and own in answers_of:
            ratios = [a[clock] / b[clock] for a, b in zip(answers_of[peer], answers_of[own], strict=True)]
            rows.append(f"| {peer} / {own} | {spread(ratios)} |")
    return "\n".join(rows)
