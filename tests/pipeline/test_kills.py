"""A kill while a checkpoint, a shard, a trial or a reply is written changes no byte of the result and leaves no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.killed_stages import STAGES

ROOT = Path(__file__).parents[2]


def kill(stage: str, folder: Path, kills: int) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.killed_stages", stage, str(folder), str(kills)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "train"])
def test_kills_change_no_byte_and_leave_no_file(stage: str, tmp_path: Path) -> None:
    """Three kills; `python -m tests.killed_stages STAGE FOLDER 10` makes ten."""
    assert kill(stage, tmp_path, 3)["wrong"] == []


def test_kills_of_a_training_change_no_byte_and_leave_no_file(tmp_path: Path) -> None:
    assert kill("train", tmp_path, 3)["wrong"] == []
