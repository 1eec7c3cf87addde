"""Choice of the graph kernel for this machine: measured once and cached, so that later runs give the same bits."""

from __future__ import annotations

import functools
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from filelock import FileLock
from scipy import sparse

from hardneg import artifacts
from hardneg.errors import ConfigError

Kernel = Literal["numba", "mkl"]
KERNELS = ("numba", "mkl")
VARIABLE = "HARDNEG_KERNEL"
"""Environment variable that overrides the choice."""
ROWS, ENTRIES, SIZE, ROUNDS = 10_000, 150_000, 64, 5
"""Size of the graph and the table that are measured, and number of measurements."""


def kernel() -> Kernel:
    """Return the kernel for 32-bit products on the CPU with torch's current number of threads."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return machine_kernel(torch.get_num_threads())
    if name not in KERNELS:
        raise ConfigError(f"found {VARIABLE}={name!r}, expected one of {', '.join(KERNELS)}; or leave it unset")
    return cast(Kernel, name)


@functools.cache
def machine_kernel(threads: int) -> Kernel:
    """Read the choice for this machine from the cache, or measure and cache it."""
    machine = _machine(threads)
    try:
        path = cache_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # processes that start at the same time agree
            choices = _read(path)
            if choices.get(machine) not in KERNELS:
                choices[machine] = _fastest()
                artifacts.replace_file(path, json.dumps(choices, indent=2).encode() + b"\n")
            return cast(Kernel, choices[machine])
    except (OSError, RuntimeError):  # no home folder, or not writable: every process measures
        return _fastest()


def _fastest() -> Kernel:
    seconds = measure()
    return cast(Kernel, min(KERNELS, key=lambda name: seconds[name]))


def measure() -> dict[str, float]:
    """Return kernel -> seconds of one product of a random graph, the best of five alternating rounds."""
    from hardneg.models.graph import GraphSide, StoredTable

    rng = np.random.default_rng(0)
    entries = rng.integers(ROWS, size=(2, ENTRIES))
    matrix = sparse.coo_array((np.ones(ENTRIES, np.float32), tuple(entries)), shape=(ROWS, ROWS)).tocsr()
    side, table = GraphSide(matrix), rng.standard_normal((ROWS, SIZE), np.float32)
    torch_matrix, torch_table = side.torch_matrix(torch.device("cpu")), torch.from_numpy(table)
    calls: dict[str, Callable[[], object]] = {
        "numba": lambda: side.product(StoredTable(table)),
        "mkl": lambda: torch_matrix @ torch_table,
    }
    for call in calls.values():
        call()  # compile, allocate
    rounds = [{name: _seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    return {name: min(seconds[name] for seconds in rounds) for name in calls}


def cache_file() -> Path:
    """Return the path of the cached choices."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hardneg" / "kernels.json"


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _machine(threads: int) -> str:
    """Return all that the choice depends on: processor, threads and versions of libraries."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("hardneg", "torch", "numba"))
    return f"{_processor()}, {threads} thread(s), {libraries}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} {platform.processor()}"


def _read(path: Path) -> dict[str, str]:
    try:
        choices = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return choices if isinstance(choices, dict) else {}
