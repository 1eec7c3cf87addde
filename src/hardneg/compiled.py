"""Compilation of our kernels: by numba, cached on disk after the first use, without Python's global lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function of arrays and numbers; sums keep their order, so results do not depend on the compiler."""
    return _compile(function)


def inlined(function: F) -> F:
    """Compile a function whose code becomes part of every compiled caller, so that loops over it can use vectors."""
    return _compile(function, inline="always")


def reordering(function: F) -> F:
    """Compile a function of inner products: the compiler may sum in vector lanes, in the same order at every call."""
    return _compile(function, fastmath={"reassoc", "contract"})


def _compile(function: F, **options: Any) -> F:
    """Compile with a cache on disk, or without one if numba finds no writable folder."""
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:
        return cast(F, njit(**options)(function))


BYTES = ir.IntType(8).as_pointer()


def emit_prefetch(builder: Any, address: Any) -> None:
    """Emit LLVM's prefetch of the cache line at a byte pointer."""
    name, word = "llvm.prefetch.p0", ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [BYTES, word, word, word])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name=name)
    builder.call(function, [address, word(0), word(3), word(1)])


def _prefetch(_: Any, array: Any, index: Any) -> Any:
    """Load the cache line of array[index] (a flat array) without waiting, for rows that are read in random order."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        emit_prefetch(builder, builder.bitcast(builder.gep(data, [arguments[1]]), BYTES))
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


prefetch: Any = intrinsic(_prefetch)


def in_chunks(kernel: Callable[..., None], n: int, *arguments: Any, threads: int | None = None) -> None:
    """Call kernel(first, stop, *arguments) over 0..n in as many threads as torch uses; chunks must not share outputs."""
    import torch

    threads = torch.get_num_threads() if threads is None else threads
    if threads == 1 or n < threads:
        kernel(0, n, *arguments)
        return
    bounds = [n * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(kernel, a, b, *arguments) for a, b in pairwise(bounds)]:
            future.result()
