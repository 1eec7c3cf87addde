"""`transformers serve` on loopback, started and stopped by a test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

START_SECONDS = 120


def installed() -> bool:
    """Return whether the requirements of `transformers serve` are installed (transformers[serving])."""
    return all(map(find_spec, ("fastapi", "uvicorn", "accelerate")))


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[str]:
    """Serve a model's folder; yield its name for `open_model`. home: an empty folder for the hub's cache."""
    (home / "hub").mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--device", "cpu", "--port", str(port)]
    surroundings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(list(map(str, command)), env=surroundings, stdout=log, stderr=log)
    try:
        _wait(server, f"http://127.0.0.1:{port}/health", home / "server.log")
        yield f"http://127.0.0.1:{port}/v1#{folder}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}: {log.read_text()[-2000:]}")
        try:
            with urlopen(health, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the server did not answer within {START_SECONDS} s: {log.read_text()[-2000:]}")
