"""Result folders with a manifest: hashes and keys, atomic writing, reading.

An artifact is written beside its place and renamed when complete. A folder whose manifest has the wanted key is finished;
that is the only resume mechanism (see `hardneg.stage`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hardneg.errors import ConfigError, DataError

MANIFEST, COSTS, CHECKPOINT = "manifest.json", "costs.json", "checkpoint.safetensors"
UNHASHED = (MANIFEST, COSTS, CHECKPOINT)
"""Files that are left out of a folder's hash: the manifest itself, timings, unfinished work."""
LOCK_SECONDS = 2
"""How long to wait for another process that makes the same folder; a killed process releases its lock within that time."""
LIBRARIES = ("torch", "numpy", "scipy", "polars", "scikit-learn", "sentence-transformers")


def artifact_key(kind: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the hash that names an artifact before it exists.

    config: every setting that changes the result, seeds included, and none that only changes speed.
    inputs: name -> content hash of what the artifact is made from.
    """
    described = {"kind": kind, "hardneg": version("hardneg"), "config": dict(config), "inputs": dict(inputs)}
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; a file that has not changed since is not read again by this process."""
    stat = path.stat()
    return _file_hash(path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@cache
def _file_hash(path: Path, _inode: int, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hashes(folder: Path, *, leave_out: tuple[str, ...] = UNHASHED) -> dict[str, str]:
    """Return relative file name -> SHA-256 for every file below `folder` whose name is not in `leave_out`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in leave_out)
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def folder_hash(folder: Path, files: tuple[str, ...] | None = None) -> str:
    """Return one hash of a folder's content, or of those named files that exist."""
    hashes = content_hashes(folder)
    chosen = hashes if files is None else {name: hashes[name] for name in files if name in hashes}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Read the manifest of a finished folder of the wanted kind ("dataset", "split", "negatives", "run", ...)."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} holds no {MANIFEST}, expected a finished {kind} folder; check the path")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also bytes that are no text
        raise DataError(f"{path} is no JSON ({error}); make the folder again") from None
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise DataError(f"{folder} is a {found} folder, expected a {kind} folder; check the order of the arguments")
    return manifest


def is_artifact(folder: Path) -> bool:
    """Return True where a folder holds a finished artifact of any kind."""
    return (folder / MANIFEST).is_file()


def is_finished(folder: Path, key: str) -> bool:
    """Return True where `folder` holds the artifact with this key, False where it is empty or missing.

    Raises ConfigError where it holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if key_at(folder) != key:
        raise ConfigError(
            f"{folder} already holds something else (made from other inputs or settings); "
            "choose another --out or remove the folder first"
        )
    return True


def key_at(folder: Path) -> str | None:
    """Return the key of the artifact in a folder; None where there is no finished one."""
    return _manifest_entry(folder, "key")


def kind_at(folder: Path) -> str | None:
    """Return the kind of the artifact in a folder; None where there is no finished one."""
    return _manifest_entry(folder, "kind")


def _manifest_entry(folder: Path, name: str) -> str | None:
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))[name])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def partial_folder(folder: Path, key: str) -> Path:
    """Return where an artifact is written until it is finished; work under another key gets another folder."""
    return folder.with_name(f".{folder.name}.{key[:12]}.partial")


def replaced_folder(folder: Path) -> Path:
    """Return where a shorter version of an artifact is kept while the longer one takes its place."""
    return folder.with_name(f".{folder.name}.replaced")


@contextmanager
def writing(
    folder: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any] | None = None,
    *,
    replaces: bool = False,
) -> Iterator[Path]:
    """Yield a folder to write into; on success add the manifest and rename the folder to `folder`.

    notes: what a reader should know (rows left out, coverage); may be filled while writing. Unfinished files are kept
    when the block fails, so that work with checkpoints can continue. replaces: replace the artifact in `folder` once
    this one is finished. Raises ConfigError where `folder` holds another artifact otherwise, or where another process is
    making the same one.
    """
    key = artifact_key(kind, config, inputs)
    if not replaces:
        is_finished(folder, key)
    unfinished = partial_folder(folder, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(unfinished.with_suffix(".lock"), timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(f"another process is making {folder}; wait for it, or choose another --out") from None
    try:
        unfinished.mkdir(exist_ok=True)
        yield unfinished
        _finish(unfinished, folder, kind, key, config=config, inputs=inputs, notes=notes, replaces=replaces)
    finally:
        with suppress(OSError):
            unfinished.rmdir()  # nothing to continue from
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _finish(
    unfinished: Path,
    folder: Path,
    kind: str,
    key: str,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any] | None,
    replaces: bool,
) -> None:
    """Add the manifest and rename the folder."""
    manifest = {
        "kind": kind,
        "key": key,
        "config": dict(config),
        "inputs": dict(inputs),
        "notes": dict(notes or {}),
        "files": content_hashes(unfinished),
        "versions": {"hardneg": version("hardneg"), **{name: _version(name) for name in LIBRARIES}},
    }
    write_json(unfinished / MANIFEST, manifest)
    if replaces and key_at(folder) != key:
        shutil.rmtree(replaced_folder(folder), ignore_errors=True)
        os.replace(folder, replaced_folder(folder))  # `Stage.run` removes it
    if is_finished(folder, key):  # another process finished the same artifact in the meantime
        shutil.rmtree(unfinished)
        return
    os.replace(unfinished, folder)  # replaces an empty folder, if there is one


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as indented JSON; what JSON cannot hold is written as text."""
    path.write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")


def replace_file(path: Path, data: bytes) -> None:
    """Write a file beside its place, flush it to disk and rename it: readers and crashes never see half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _version(library: str) -> str:
    try:
        return version(library)
    except Exception:  # noqa: BLE001 - an optional library may be absent
        return "absent"
