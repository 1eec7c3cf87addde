"""studies/noise.py on a tiny store: what it prints is what the folders hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "studies" / "noise.py"


@pytest.mark.slow
def test_noise_is_judged_and_trained_on(folders: Path, tmp_path: Path) -> None:
    given = ["--rates", "0", "0.2", "--models", "MF", "--epochs", "1", "--work", str(tmp_path / "work")]
    command = [sys.executable, str(SCRIPT), str(folders / "split"), str(folders / "dataset"), *given]
    out = tmp_path / "tables.md"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(out)], check=True, env=environment, capture_output=True, timeout=300)
    first, second = (
        [line.split("|")[1:-1] for line in part.splitlines()[2:]] for part in out.read_text().split("\n\n")
    )
    lines = [[cell.strip() for cell in line] for line in first]
    assert len(lines) == 3 * 3 + 3, "three judges in three conditions, and against hidden pairs in one"
    hidden = [line for line in lines if line[4] == "hidden pairs"]
    assert [line[3] for line in hidden] == ["rule", "random", "all"]
    assert {line[1] for line in hidden} == {"20%"}
    [of_all] = [line for line in hidden if line[3] == "all"]
    assert of_all[7] == of_all[5], "calling all liked has the precision of the base rate"
    assert of_all[9] == "100.0%"
    assert len(second) == 3 * 4
