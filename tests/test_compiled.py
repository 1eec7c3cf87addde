"""Chunks in threads give the result of a single call."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.compiled import in_chunks


@pytest.mark.parametrize(("n", "threads"), [(0, 1), (1, 4), (10, 1), (10, 3), (11, 4)])
def test_every_index_is_visited_once(n: int, threads: int) -> None:
    out = np.zeros(n, int)

    def kernel(begin: int, end: int, values: np.ndarray) -> None:
        values[begin:end] += np.arange(begin, end) + 1

    in_chunks(kernel, n, out, threads=threads)
    assert out.tolist() == list(range(1, n + 1))


def test_an_error_in_a_thread_is_raised() -> None:
    def kernel(begin: int, _: int) -> None:
        if begin:
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        in_chunks(kernel, 8, threads=2)
