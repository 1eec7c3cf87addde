"""How our own kernels are compiled: by numba, kept on disk after the first use, without Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers; sums keep their order, so results do not depend on the compiler's."""
    return cast(F, njit(nogil=True, cache=True, error_model="numpy")(function))


def reordering(function: F) -> F:
    """As `compiled`, for inner products: the compiler may sum in lanes, the same way at every call."""
    return cast(F, njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})(function))


def in_chunks(kernel: Callable[..., None], n: int, *arguments: Any, threads: int | None = None) -> None:
    """Call kernel(first, stop, *arguments) over 0..n, in as many threads as torch uses; chunks share no output."""
    import torch

    threads = torch.get_num_threads() if threads is None else threads
    if threads == 1 or n < threads:
        kernel(0, n, *arguments)
        return
    bounds = [n * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(kernel, a, b, *arguments) for a, b in pairwise(bounds)]:
            done.result()
