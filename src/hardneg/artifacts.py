"""Folders that a person can read, written beside and renamed; a manifest says what made them.

A folder whose manifest key equals the wanted key is finished. That is the only resume mechanism.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hardneg.errors import ConfigError, DataError

MANIFEST = "manifest.json"
UNHASHED = (MANIFEST, "costs.json", "checkpoint.safetensors")
"""Files that no hash of a folder covers: itself, clocks, unfinished work."""
LOCK_SECONDS = 2
"""How long to wait for whoever makes the same folder: a process that was killed a moment ago lets go by then."""
LIBRARIES = ("torch", "numpy", "scipy", "polars", "scikit-learn", "sentence-transformers")


def artifact_key(kind: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Name a result before it exists: a hash of what determines it.

    config: every setting that changes the result, seeds included (not those that only change speed).
    inputs: name -> content hash of what it is made from.
    """
    described = {"kind": kind, "hardneg": version("hardneg"), "config": dict(config), "inputs": dict(inputs)}
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hashes(folder: Path, *, leave_out: tuple[str, ...] = UNHASHED) -> dict[str, str]:
    """Relative file name -> SHA-256 for every file below `folder`, those of `leave_out` apart."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in leave_out)
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def folder_hash(folder: Path, files: tuple[str, ...] | None = None) -> str:
    """One hash for a folder's content, or for the named files of it that exist."""
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
    """True where a finished artefact is, of whatever kind and key."""
    return (folder / MANIFEST).is_file()


def is_finished(folder: Path, key: str) -> bool:
    """True where `folder` holds exactly the wanted result; an error where it holds something else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if key_at(folder) != key:
        raise ConfigError(
            f"{folder} already holds something else (made from other inputs or settings); "
            "choose another --out or remove the folder first"
        )
    return True


def key_at(folder: Path) -> str | None:
    """The key of what a folder holds; None where it holds nothing that was finished."""
    return _said(folder, "key")


def kind_at(folder: Path) -> str | None:
    """What a folder holds; None where it holds nothing that was finished."""
    return _said(folder, "kind")


def _said(folder: Path, name: str) -> str | None:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def partial_folder(folder: Path, key: str) -> Path:
    """Where the folder grows until it is finished; unfinished work under another key is not mixed in."""
    return folder.with_name(f".{folder.name}.{key[:12]}.partial")


@contextmanager
def writing(
    folder: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Yield a folder to write into; on success add the manifest and rename it to `folder`.

    notes: whatever a reader should know (rows dropped, coverage); may be filled while writing. The unfinished folder
    is kept when the block fails, so that work with checkpoints can go on from there. Raises ConfigError where `folder`
    holds something else, or where another process is making it.
    """
    key = artifact_key(kind, config, inputs)
    is_finished(folder, key)
    growing = partial_folder(folder, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(growing.with_suffix(".lock"), timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(f"another process is making {folder}; wait for it, or choose another --out") from None
    try:
        growing.mkdir(exist_ok=True)
        yield growing
        _finish(growing, folder, kind, key, config=config, inputs=inputs, notes=notes)
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _finish(
    growing: Path,
    folder: Path,
    kind: str,
    key: str,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any] | None,
) -> None:
    """Add the manifest and put the folder in its place."""
    manifest = {
        "kind": kind,
        "key": key,
        "config": dict(config),
        "inputs": dict(inputs),
        "notes": dict(notes or {}),
        "files": content_hashes(growing),
        "versions": {"hardneg": version("hardneg"), **{name: _version(name) for name in LIBRARIES}},
    }
    text = json.dumps(manifest, indent=2, default=str)
    (growing / MANIFEST).write_text(text + "\n", encoding="utf-8")
    if is_finished(folder, key):  # the same result, made elsewhere in the meantime
        shutil.rmtree(growing)
        return
    os.replace(growing, folder)  # over an empty folder, if there is one


def write_costs(folder: Path, costs: Mapping[str, Any] | None) -> None:
    """Write costs.json (seconds, calls, tokens, money, ...) into a folder that grows; nothing where nothing was spent."""
    if costs is not None:
        (folder / "costs.json").write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")


def replace_file(path: Path, data: bytes) -> None:
    """Write beside and rename, flushed to disk, so that a reader or a crash never sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _version(library: str) -> str:
    try:
        return version(library)
    except Exception:  # noqa: BLE001 - an optional library that is absent is a fact, not a failure
        return "absent"
