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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Three kills of every stage; `python -m tests.killed_stages FOLDER 10 STAGE` makes ten of one."""
    command = [sys.executable, "-m", "tests.killed_stages", str(tmp_path_factory.mktemp("kills")), "3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, dict[str, object]] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_kills_change_no_byte_and_leave_no_file(stage: str, found: dict[str, dict[str, object]]) -> None:
    assert found[stage]["wrong"] == []
