"""The kernel of the graph is the fastest one; an environment variable overrides it, and slower 16 bits are named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.fixed_speeds import FixedSpeeds

from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.models import graph
from hardneg.models.graph import Graph
from hardneg.speeds import Seconds

CPU = torch.device("cpu")


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Callable[[Seconds], None]:
    """Replace the measured seconds."""
    monkeypatch.delenv(graph.VARIABLE, raising=False)

    def replace(seconds: Seconds) -> None:
        monkeypatch.setattr(graph, "PRODUCT", FixedSpeeds(seconds))

    return replace


def test_the_fastest_kernel_of_32_bits_is_chosen(measure: Callable[[Seconds], None]) -> None:
    measure({"numba": 2.0, "mkl": 1.0, graph.SIXTEEN_BITS: 0.5})
    assert graph.cpu_kernel() == "mkl"
    measure({"numba": 1.0, "mkl": 2.0, graph.SIXTEEN_BITS: 0.5})
    assert graph.cpu_kernel() == "numba"


def test_the_environment_variable_overrides_the_choice(
    measure: Callable[[Seconds], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure({"numba": 1.0, "mkl": 2.0})
    monkeypatch.setenv(graph.VARIABLE, "mkl")
    assert graph.cpu_kernel() == "mkl"
    monkeypatch.setenv(graph.VARIABLE, "cublas")
    with pytest.raises(ConfigError, match=r"HARDNEG_KERNEL='cublas'.*numba, mkl"):
        graph.cpu_kernel()


def test_16_bits_that_are_slower_are_named(measure: Callable[[Seconds], None]) -> None:
    pairs = Interactions.of(np.array([0, 1]), np.array([0, 1]), n_users=2, n_items=2)
    of_32, of_16 = Graph(pairs), Graph(pairs, storage="float16")
    measure({"numba": 1.0, "mkl": 2.0, graph.SIXTEEN_BITS: 3.0})
    assert (
        of_16.speed_warning(CPU)
        == "storage float16 takes 3.0 times as long as float32 on this machine, for a table of 50,000 rows; leave it out"
    )
    assert of_32.speed_warning(CPU) == of_16.speed_warning(torch.device("cuda")) == ""
    measure({"numba": 1.0, "mkl": 2.0, graph.SIXTEEN_BITS: 1.05})
    assert of_16.speed_warning(CPU) == ""


def test_all_implementations_are_timed() -> None:
    seconds = graph.measure_products()
    assert set(seconds) == {"numba", "mkl", graph.SIXTEEN_BITS}
    assert all(0 < value < 5 for value in seconds.values())
