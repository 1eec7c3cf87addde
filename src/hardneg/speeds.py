"""Measured speed of several implementations of one loop on this machine, kept on disk from the first use."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from timeit import timeit

from filelock import FileLock

from hardneg import storage

SLOWER = "slower here"
"""Note of a run or an evaluation with a chosen implementation that is slower on this machine than the usual one."""
Seconds = dict[str, float]
"""Name of an implementation -> seconds of one call."""


@dataclass(frozen=True)
class MeasuredLoop:
    """A loop with several implementations that give the same result, up to a rounding that they state.

    name: shown to the user, and key in the file. implementations: their names. measure: returns the seconds of each.
    """

    name: str
    implementations: tuple[str, ...]
    measure: Callable[[], Seconds]

    def seconds(self, *, again: bool = False) -> Seconds:
        """Return the seconds of every implementation with torch's current number of threads.

        They are measured once for a processor, number of threads and versions of libraries, and then read from the file.
        again: measure now and replace them.
        """
        import torch

        threads = torch.get_num_threads()
        if again:
            _read_or_measure.cache_clear()
            return _of_machine(self, threads, again=True)
        return _read_or_measure(self, threads)

    def fastest(self, *names: str) -> str:
        """Return the fastest of these implementations, or of all."""
        seconds = self.seconds()
        return min(names or seconds, key=lambda name: seconds[name])


@functools.cache
def _read_or_measure(loop: MeasuredLoop, threads: int) -> Seconds:
    return _of_machine(loop, threads, again=False)


def _of_machine(loop: MeasuredLoop, threads: int, *, again: bool) -> Seconds:
    machine = _machine(threads)
    try:
        path = speeds_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # processes that start at the same time agree
            measured = _read(path)
            of_machine = measured.setdefault(machine, {})
            if again or set(of_machine.get(loop.name, ())) != set(loop.implementations):
                of_machine[loop.name] = loop.measure()
                storage.replace_file(path, json.dumps(measured, indent=2).encode() + b"\n")
            return of_machine[loop.name]
    except (OSError, RuntimeError):  # no home folder, or not writable: every process measures
        return loop.measure()


def speeds_file() -> Path:
    """Return the path of the measured seconds."""
    return storage.cache_folder() / "speeds.json"


def best_of_rounds(calls: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Return the seconds of every call, the best of alternating rounds after one that is not counted."""
    for call in calls.values():
        call()  # compile, allocate
    measured = [{name: timeit(call, number=1) for name, call in calls.items()} for _ in range(rounds)]
    return {name: min(seconds[name] for seconds in measured) for name in calls}


def _machine(threads: int) -> str:
    """Return all that speeds depend on: processor, threads and versions of libraries."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("hardneg", "torch", "numba"))
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else f"{platform.machine()} {platform.processor()}"
    return f"{processor}, {threads} thread(s), {libraries}"


def _read(path: Path) -> dict[str, dict[str, Seconds]]:
    """Return machine -> loop -> seconds; nothing of a file that is damaged or missing."""
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(measured, dict):
        return {}
    return {machine: loops for machine, loops in measured.items() if _are_loops(loops)}


def _are_loops(loops: object) -> bool:
    if not isinstance(loops, dict):
        return False
    return all(
        isinstance(speeds, dict) and all(isinstance(s, float) for s in speeds.values()) for speeds in loops.values()
    )
