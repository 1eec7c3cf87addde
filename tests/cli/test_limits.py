"""Absurd sizes are refused with the limit, before memory or time is spent; a full disk is one line with its path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.test_commands import run

LIMITED = """
import resource, sys, tempfile
tempfile.gettempdir()  # writes a file; torch imports dill, which asks for it, where that is installed
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from hardneg.cli.main import app
app(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ("--set model.embedding_size=1000000000", "16384"),
        ("--sampler dns --set sampler.candidates=1000000000", "10000"),
        ("--sampler dns --set sampler.candidates=10000 --set fit.batch_size=10000000", "8,589,934,592"),
        ("--set fit.seed=-1", "0"),
        ("--set fit.seed=99999999999999999999999", "9223372036854775808"),
        ("--set fit.batch_size=99999999999999", "16777216"),
        ("--set fit.select=recall@99999999999", "recall"),
        ("--epochs 99999999999", "10000000"),
        ("--threads 1000000", "1024"),
    ],
)
def test_an_absurd_size_of_a_training_is_refused_with_its_limit(
    folders: Path, tmp_path: Path, options: str, limit: str
) -> None:
    ended = run("train", folders / "split", *options.split(), "--out", tmp_path / "run")
    assert ended.exit_code == 2
    assert limit in ended.output
    assert "Traceback" not in ended.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "command",
    [
        "evaluate RUN --split SPLIT -k 100000000",
        "recommend RUN --user u1 -k 100000000",
        "neighbours find co-occurrence SPLIT -k 100000000",
        "finetune label SPLIT RUN --draws 100000000",
        "suspects identify SPLIT --run RUN --candidates 100000000",
        "data split DATASET --seed -1",
        "study run FILE --workers 100000",
    ],
)
def test_an_absurd_number_of_a_command_is_refused(folders: Path, command: str) -> None:
    ended = run(*command.replace("SPLIT", str(folders / "split")).replace("DATASET", str(folders / "dataset")).split())
    assert ended.exit_code == 2
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    ("command", "n_bytes"),
    [("data split DATASET", 0), ("data split DATASET", 2_000), ("train SPLIT --model mf --epochs 1", 4_000)],
)
def test_a_full_disk_is_one_line_with_a_path(folders: Path, tmp_path: Path, command: str, n_bytes: int) -> None:
    words = command.replace("SPLIT", str(folders / "split")).replace("DATASET", str(folders / "dataset")).split()
    arguments = [sys.executable, "-c", LIMITED, str(n_bytes), *words, "--out", str(tmp_path / "out")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 2, ended.stderr[-2000:]
    lines = [line for line in ended.stderr.splitlines() if line.startswith("hardneg: ")]
    assert len(lines) == 1, ended.stderr[-2000:]
    assert str(tmp_path) in lines[0]
    assert "File too large" in lines[0]
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()
