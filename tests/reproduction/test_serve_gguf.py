"""The script that serves a GGUF file, over a package that only records its settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "reproduction" / "serve_gguf.py"
RECORDER = """
from types import SimpleNamespace
def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())
class Server:
    def __init__(self, params):
        print(params.model.path, params.n_parallel, params.n_ctx, params.cpuparams.n_threads)
        self.listening_address = f"http://127.0.0.1:{params.port}"
"""


def test_a_file_is_served_until_a_signal(tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.py").write_text(RECORDER)
    (tmp_path / "tiny.gguf").touch()
    command = [sys.executable, str(SCRIPT), str(tmp_path / "tiny.gguf"), "--port", "1", "--threads", "2"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline().decode().strip() for _ in range(2)]
        server.send_signal(signal.SIGTERM)
        server.wait(10)
    assert lines == [f"{tmp_path / 'tiny.gguf'} 4 16384 2", "http://127.0.0.1:1/v1#tiny"]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "none.gguf")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"{tmp_path / 'none.gguf'} does not exist, expected a GGUF file; check the path"
    ]
