"""The quick tests detect faults against the protocol (`tests/mutants.py`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_the_line_of_a_fault_exists_once(mutant: Mutant) -> None:
    """Where a line was changed, the fault is to be planted in the new line."""
    assert mutant.path.read_text(encoding="utf-8").count(mutant.line) == 1, f"{mutant.path.name} lacks {mutant.line!r}"
    assert mutant.line != mutant.changed
    for test in mutant.tests:
        assert (Path(__file__).parent / test.partition("::")[0]).exists(), test


@pytest.mark.slow
def test_every_fault_is_detected() -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "mutants.py"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("detected") == len(MUTANTS)
