"""Peers as processes of their own, in turn, and tables of what they took."""

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
    """A peer: its name in the tables, and the script with its arguments."""

    name: str
    script: str
    arguments: tuple[str, ...]

    @property
    def python(self) -> str:
        return sys.executable if self.script == "ours.py" else str(PEER_PYTHON)


def export(split: Split, folder: Path) -> None:
    """Write what every peer reads: pairs (n, 2) by part, and random tables for the evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "valid", "test"):
        pairs = getattr(split, name)
        np.save(folder / f"{name}.npy", np.stack([pairs.users, pairs.items], axis=1))
    rng = np.random.default_rng(0)
    for name, rows in (("users", split.train.n_users), ("items", split.train.n_items)):
        np.save(folder / f"{name}.npy", rng.standard_normal((rows, EMBEDDING_SIZE)).astype(np.float32))


def environment() -> dict[str, str]:
    """One thread everywhere; our process imports the hardneg that this one imports."""
    return os.environ | ONE_THREAD | {"PYTHONPATH": str(Path(str(hardneg.__file__)).parents[1])}


def run_peer(script: str, *arguments: str, folder: Path) -> dict[str, Any]:
    """Run a peer's script to its end in `folder`; its answer, one line of JSON."""
    command = [str(PEER_PYTHON), str(PEERS / script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def require_peers() -> None:
    if not PEER_PYTHON.exists():
        raise SystemExit("found no .venv-peers; make it with: make .venv-peers/done")


class PeerProcess:
    """One process that waits for a line, works, and answers with a line of JSON."""

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

    def ask(self, line: str) -> dict[str, Any]:
        """Have it do one thing; wall and CPU seconds, and what it measured."""
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
    """Each does it once unmeasured, then all in turn, `repeats` times. Also what each said of itself."""
    started: list[PeerProcess] = []
    try:
        for entry in entries:
            started.append(PeerProcess(entry, data))
        about = {one.entry.name: one.about for one in started}
        ready = [one for one in started if "skip" not in one.about]
        for one in ready:
            one.ask(line)
        found: dict[str, list[Mapping[str, Any]]] = {one.entry.name: [] for one in ready}
        for repeat in range(repeats):
            for one in ready[repeat % len(ready) :] + ready[: repeat % len(ready)]:  # nobody is always first
                found[one.entry.name].append(one.ask(line))
        return found, about
    finally:
        for one in started:
            one.stop()


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median [min, max]."""
    return " ".join(
        [f"{statistics.median(values):.{digits}f}", f"[{min(values):.{digits}f}, {max(values):.{digits}f}]"]
    )


def seconds_table(found: Answers) -> str:
    """A row a peer: seconds, and the metrics that it measured on the way."""
    metrics = sorted({name for answers in found.values() for name in answers[0]} - {"wall", "cpu"})
    head = ["", "wall seconds, median [min, max]", "CPU seconds, median", *metrics]
    rows = [head, ["---"] * len(head)]
    for name, answers in found.items():
        wall, cpu = ([answer[clock] for answer in answers] for clock in ("wall", "cpu"))
        values = [f"{answers[0][metric]:.6f}" if metric in answers[0] else "–" for metric in metrics]
        rows.append([name, spread(wall, 3), f"{statistics.median(cpu):.3f}", *values])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def ratio_table(found: Answers, pairs: Sequence[tuple[str, str]], clock: str) -> str:
    """The peer's seconds over ours within each repeat; pairs of names, those that did not take part left out."""
    rows = ["| compared | times as fast, median [min, max] |", "| --- | --- |"]
    for peer, own in pairs:
        if peer in found and own in found:
            ratios = [a[clock] / b[clock] for a, b in zip(found[peer], found[own], strict=True)]
            rows.append(f"| {peer} / {own} | {spread(ratios)} |")
    return "\n".join(rows)
