"""Loops with several implementations are measured once and their speeds are kept on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardneg import speeds
from hardneg.speeds import MeasuredLoop, Seconds, best_of_rounds, speeds_file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("HARDNEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    speeds._read_or_measure.cache_clear()
    yield speeds_file()
    speeds._read_or_measure.cache_clear()


def measured(*rounds: Seconds) -> MeasuredLoop:
    """A loop whose measurements are given; one too many is an error."""
    seconds = iter(rounds)
    return MeasuredLoop("a loop", tuple(rounds[0]), lambda: next(seconds))


def test_the_speeds_are_measured_once_and_kept(file: Path) -> None:
    loop = measured({"a": 2.0, "b": 1.0, "c": 0.5})
    assert (loop.fastest(), loop.fastest("a", "b")) == ("c", "b")
    speeds._read_or_measure.cache_clear()  # another process
    assert loop.fastest("a", "b") == "b", "the same machine gives the same bits"
    assert list(json.loads(file.read_text()).values()) == [{"a loop": {"a": 2.0, "b": 1.0, "c": 0.5}}]


def test_they_are_measured_again_on_demand(file: Path) -> None:
    loop = measured({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0})
    assert loop.fastest() == "a"
    assert loop.seconds(again=True) == {"a": 2.0, "b": 1.0}
    assert loop.fastest() == "b"


def test_loops_share_the_file(file: Path) -> None:
    one, other = measured({"a": 1.0}), MeasuredLoop("another loop", ("x",), lambda: {"x": 1.0})
    assert (one.fastest(), other.fastest()) == ("a", "x")
    assert set(*json.loads(file.read_text()).values()) == {"a loop", "another loop"}


def test_a_new_implementation_is_measured(file: Path) -> None:
    assert measured({"a": 1.0}).fastest() == "a"
    speeds._read_or_measure.cache_clear()
    assert measured({"a": 1.0, "b": 0.5}).fastest() == "b"


@pytest.mark.parametrize("broken", ["not json", "[]", '{"x": 3}', '{"x": {"a loop": "numba"}}'])
def test_a_broken_file_is_replaced(file: Path, broken: str) -> None:
    file.parent.mkdir()
    file.write_text(broken)
    assert measured({"a": 1.0}).fastest() == "a"
    assert list(json.loads(file.read_text()).values()) == [{"a loop": {"a": 1.0}}]


def test_an_unwritable_folder_is_no_error(file: Path) -> None:
    file.parent.write_text("a file where the folder should be")
    assert measured({"a": 1.0}).fastest() == "a"


def test_the_best_round_counts_and_the_first_call_does_not() -> None:
    calls: list[str] = []
    seconds = best_of_rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert set(seconds) == {"a", "b"}
    assert all(0 <= value < 1 for value in seconds.values())


def test_processes_that_start_together_agree(file: Path) -> None:
    """Each would choose another implementation; the first to hold the lock decides for both."""
    code = (
        "import sys; from hardneg.speeds import MeasuredLoop\n"
        "print(MeasuredLoop('a loop', ('a', 'b'), lambda: {'a': float(sys.argv[1]), 'b': 1.5}).fastest())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, seconds], stdout=subprocess.PIPE, text=True)
        for seconds in ("1", "2")
    ]
    choices = {process.communicate(timeout=60)[0].strip() for process in running}
    assert len(choices) == 1
    assert choices <= {"a", "b"}
    assert file.is_file()
