"""The kernel is measured once and cached; an environment variable overrides it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hardneg.errors import ConfigError
from hardneg.models import graph


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(graph.VARIABLE, raising=False)
    graph.machine_kernel.cache_clear()
    return graph.cache_file()


def test_the_choice_is_measured_once_and_cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([{"numba": 2.0, "mkl": 1.0}])
    monkeypatch.setattr(graph, "measure_kernels", lambda: next(seconds))
    assert graph.cpu_kernel() == "mkl"
    graph.machine_kernel.cache_clear()  # another process
    assert graph.cpu_kernel() == "mkl", "the same machine gives the same bits"
    assert list(json.loads(cache.read_text()).values()) == ["mkl"]


@pytest.mark.parametrize("broken", ["not json", "[]", '{"x": 3}'])
def test_a_broken_cache_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    cache.parent.mkdir()
    cache.write_text(broken)
    monkeypatch.setattr(graph, "measure_kernels", lambda: {"numba": 1.0, "mkl": 2.0})
    assert graph.cpu_kernel() == "numba"


def test_an_unwritable_cache_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.write_text("a file where the folder should be")
    monkeypatch.setattr(graph, "measure_kernels", lambda: {"numba": 1.0, "mkl": 2.0})
    assert graph.cpu_kernel() == "numba"


def test_the_environment_variable_overrides_the_choice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(graph.VARIABLE, "mkl")
    assert graph.cpu_kernel() == "mkl"
    assert not cache.exists()
    monkeypatch.setenv(graph.VARIABLE, "cublas")
    with pytest.raises(ConfigError, match=r"HARDNEG_KERNEL='cublas'.*numba, mkl"):
        graph.cpu_kernel()


def test_both_kernels_are_timed() -> None:
    seconds = graph.measure_kernels()
    assert set(seconds) == {"numba", "mkl"}
    assert all(0 < value < 5 for value in seconds.values())


def test_processes_that_start_together_agree(cache: Path) -> None:
    """Each would choose another kernel; the first to hold the lock decides for both."""
    code = (
        "import sys; from hardneg.models import graph\n"
        "graph.measure_kernels = lambda: {'numba': float(sys.argv[1]), 'mkl': 1.5}\n"
        "print(graph.cpu_kernel())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, seconds], stdout=subprocess.PIPE, text=True)
        for seconds in ("1", "2")
    ]
    choices = {process.communicate(timeout=60)[0].strip() for process in running}
    assert len(choices) == 1
    assert choices <= {"numba", "mkl"}
    assert cache.is_file()
