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


def kill(folder: Path, kills: int, stages: list[str]) -> dict[str, dict[str, object]]:
    """Kill stages in one process; `python -m tests.killed_stages FOLDER 10 STAGE` makes ten kills of one."""
    command = [sys.executable, "-m", "tests.killed_stages", str(folder), str(kills), *stages]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, dict[str, object]] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_kills_change_no_byte_and_leave_no_file(tmp_path: Path) -> None:
    """Three kills of every stage but the training."""
    found = kill(tmp_path, 3, [stage for stage in STAGES if stage != "train"])
    assert {stage: result["wrong"] for stage, result in found.items() if result["wrong"]} == {}


def test_kills_of_a_training_change_no_byte_and_leave_no_file(tmp_path: Path) -> None:
    assert kill(tmp_path, 3, ["train"])["train"]["wrong"] == []
