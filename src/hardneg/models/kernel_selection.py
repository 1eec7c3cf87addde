"""Which kernel multiplies the graph on this machine: measured once, kept, so that later runs give the same bits."""

from __future__ import annotations

import functools
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from filelock import FileLock
from scipy import sparse

from hardneg import artifacts
from hardneg.compiled import in_chunks
from hardneg.errors import ConfigError
from hardneg.models.intrinsics import AHEAD
from hardneg.models.kernels import products

Kernel = Literal["numba", "mkl"]
KERNELS = ("numba", "mkl")
VARIABLE = "HARDNEG_KERNEL"
"""Environment variable that chooses by hand."""
ROWS, ENTRIES, SIZE, ROUNDS = 10_000, 150_000, 64, 5


def kernel() -> Kernel:
    """The kernel for 32-bit products on the CPU with as many threads as torch uses now."""
    given = os.environ.get(VARIABLE)
    if given is None:
        return kept(torch.get_num_threads())
    if given not in KERNELS:
        raise ConfigError(f"found {VARIABLE}={given!r}, expected one of {', '.join(KERNELS)}; or leave it unset")
    return cast(Kernel, given)


@functools.cache
def kept(threads: int) -> Kernel:
    """Read the choice of this machine, or measure and write it down."""
    machine = _machine(threads)
    try:
        path = cache_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # processes that start together agree
            choices = _read(path)
            if choices.get(machine) not in KERNELS:
                choices[machine] = _quicker()
                artifacts.replace_file(path, json.dumps(choices, indent=2).encode() + b"\n")
            return cast(Kernel, choices[machine])
    except (OSError, RuntimeError):  # no home, or nothing can be kept there: the next process measures again
        return _quicker()


def _quicker() -> Kernel:
    seconds = measure()
    return cast(Kernel, min(KERNELS, key=lambda name: seconds[name]))


def measure() -> dict[str, float]:
    """Kernel -> seconds of one product of a random graph, the best of five rounds in turn."""
    rng = np.random.default_rng(0)
    places = rng.integers(ROWS, size=(2, ENTRIES))
    matrix = sparse.coo_array((np.ones(ENTRIES, np.float32), tuple(places)), shape=(ROWS, ROWS)).tocsr()
    table = rng.standard_normal((ROWS, SIZE), np.float32)
    calls = {"numba": _own(matrix, table), "mkl": _torch(matrix, table)}
    for call in calls.values():
        call()  # compile, allocate
    rounds = [{name: _seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    return {name: min(found[name] for found in rounds) for name in calls}


def cache_file() -> Path:
    """Where choices are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hardneg" / "kernels.json"


def _own(matrix: sparse.csr_array, table: np.ndarray[Any, Any]) -> Callable[[], object]:
    starts, neighbours = matrix.indptr.astype(np.int64), np.append(matrix.indices, np.zeros(AHEAD)).astype(np.int32)
    out, chosen, nothing = np.empty_like(table), np.arange(ROWS), np.empty((0, 0), np.float32)
    left_out = nothing, 1.0, nothing, 0.0, np.empty(0, np.int32)
    return lambda: in_chunks(products, ROWS, chosen, starts, neighbours, matrix.data, table, 1.0, out, *left_out)


def _torch(matrix: sparse.csr_array, table: np.ndarray[Any, Any]) -> Callable[[], object]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*")
        starts, columns_of = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
        compressed = torch.sparse_csr_tensor(starts, columns_of, torch.from_numpy(matrix.data), size=matrix.shape)
    columns = torch.from_numpy(table)
    return lambda: compressed @ columns


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _machine(threads: int) -> str:
    """What the choice depends on: another processor, library or number of threads is measured anew."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("hardneg", "torch", "numba"))
    return f"{_processor()}, {threads} thread(s), {libraries}"


def _processor() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} {platform.processor()}"


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
