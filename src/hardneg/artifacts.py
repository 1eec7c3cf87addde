"""Result folders with a manifest: hashes and keys, atomic writing, verified reading.

An artifact is written beside its place and renamed when complete. A folder whose manifest has the wanted key is finished;
that is the only resume mechanism (see `hardneg.stage`). Its files are compared with the manifest when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hardneg.errors import ConfigError, DamagedError, DataError
from hardneg.storage import flush, flush_tree, name_disk_errors, read_json, remove_hidden, write_json

MANIFEST, COSTS, CHECKPOINT = "manifest.json", "costs.json", "checkpoint.safetensors"
UNHASHED = (MANIFEST, COSTS, CHECKPOINT)
"""Files that are left out of a folder's hash: the manifest itself, timings, unfinished work."""
UNLISTED = (MANIFEST, CHECKPOINT)
"""Files that a manifest does not list."""
CHECKSUM = "sha256"
"""Entry of a manifest: the SHA-256 of its other entries."""
ENTRIES = {
    **{"kind": str, "key": str, "config": dict, "inputs": dict, "notes": dict},
    **{"files": dict, "costs": dict, "versions": dict},
}
"""Entries of a manifest besides the checksum, and their types in JSON.

files: name -> SHA-256 of the files that make up the content. costs: the same of files that differ from call to call.
"""
REMEDY = "make the folder again, or read it as it is with --trust"
COARSE_NS = 50_000_000
"""Nanoseconds in which a file may change twice without a change of its time, on any file system."""
LOCK_SECONDS = 2
"""How long to wait for another process that makes the same folder; a killed process releases its lock within that time."""
LIBRARIES = ("torch", "numpy", "scipy", "polars", "scikit-learn", "sentence-transformers")


def artifact_key(kind: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the hash that names an artifact before it exists.

    config: every setting that changes the result, seeds included, and none that only changes speed.
    inputs: name -> content hash of what the artifact is made from.
    """
    described = {"kind": kind, "hardneg": version("hardneg"), "config": dict(config), "inputs": dict(inputs)}
    return _digest(described)


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


_hashes: dict[tuple[int, ...], str] = {}
"""Hashes of files that this process has read: (device, inode, size, time of change) -> SHA-256."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; a file that has not changed since is not read again by this process."""
    stat = path.stat()
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key not in _hashes:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - stat.st_mtime_ns < COARSE_NS:
            return digest
        _hashes[key] = digest
    return _hashes[key]


def content_hashes(folder: Path, *, leave_out: tuple[str, ...] = UNHASHED) -> dict[str, str]:
    """Return relative file name -> SHA-256 for every file below `folder` whose name is not in `leave_out`.

    An artifact inside the folder, such as the evaluation of a run, has a manifest of its own and is left out.
    """
    names = (path.relative_to(folder).as_posix() for path in _list_files(folder) if path.name not in leave_out)
    return {name: file_hash(folder / name) for name in sorted(names)}


def _list_files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, except for those of artifacts inside it."""
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and not is_artifact(path):
            yield from _list_files(path)


def folder_hash(folder: Path, files: tuple[str, ...] | None = None) -> str:
    """Return one hash of a folder's content, or of those named files that exist."""
    hashes = content_hashes(folder)
    chosen = hashes if files is None else {name: hashes[name] for name in files if name in hashes}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(trusted: bool = True) -> Iterator[None]:
    """Within the block, read artifacts of this thread without comparing their files with their manifests."""
    token = _trusted.set(trusted)
    try:
        yield
    finally:
        _trusted.reset(token)


_edited: ContextVar[set[Path] | None] = ContextVar("edited", default=None)


@contextmanager
def noting_edited_manifests() -> Iterator[set[Path]]:
    """Within the block, collect manifests that differ from their checksum, and read on where their files agree with them.

    For audits, which check what such a manifest claims.
    """
    edited: set[Path] = set()
    token = _edited.set(edited)
    try:
        yield edited
    finally:
        _edited.reset(token)


def is_trusting() -> bool:
    """Return True within `trusting`."""
    return _trusted.get()


@dataclass(frozen=True)
class Differences:
    """Names of files of a folder that differ from its manifest."""

    changed: list[str]
    missing: list[str]
    additional: list[str]


def read_costs(folder: Path) -> dict[str, Any]:
    """Return the costs.json of an artifact; empty where there is none."""
    path = folder / COSTS
    return read_json(path) if path.is_file() else {}


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Read the manifest of a finished folder of the wanted kind, and verify the files that it lists.

    kind: "dataset", "split", "negatives", "run", ... Every reader of an artifact calls this first. Raises DataError for
    another folder, DamagedError where a file is missing or differs; within `trusting` files are not compared.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} holds no {MANIFEST}, expected a finished {kind} folder; check the path")
    manifest = _parse_manifest(path)
    if manifest["kind"] != kind:
        raise DataError(
            f"{folder} is a {manifest['kind']} folder, expected a {kind} folder; check the order of the arguments"
        )
    if not is_trusting():
        _require_files(folder, manifest)
    return manifest


def compare_with_manifest(folder: Path) -> Differences:
    """Return the files of an artifact that differ from its manifest, are missing, or are not listed."""
    listed = listed_hashes(_parse_manifest(folder / MANIFEST))
    existing = content_hashes(folder, leave_out=UNLISTED)
    return Differences(
        [name for name, digest in listed.items() if existing.get(name, digest) != digest],
        [name for name in listed if name not in existing],
        [name for name in existing if name not in listed],
    )


def require_whole(*folders: Path) -> None:
    """Raise DamagedError that names every file of these artifacts that was changed, is missing or is not listed.

    Artifacts inside them are checked too. A folder without a manifest is passed over, as are additional hidden files.
    """
    found = []
    for folder in dict.fromkeys(path.parent for start in folders for path in sorted(start.rglob(MANIFEST))):
        differences = compare_with_manifest(folder)
        found += [f"{folder / name} was changed" for name in differences.changed]
        found += [f"{folder / name} is missing" for name in differences.missing]
        additional = [name for name in differences.additional if not Path(name).parts[0].startswith(".")]
        found += [f"{folder / name} is not listed" for name in additional]
    if found:
        raise DamagedError(f"{'; '.join(found)}; make the folder again, or remove what its manifest does not list")


def listed_hashes(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> SHA-256 of every file that a manifest lists."""
    return {**manifest["files"], **manifest["costs"]}


def _parse_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest. Raises DamagedError unless it has all entries and, if not trusted, its own checksum."""
    manifest = read_json(path)
    for name, kind in ENTRIES.items():
        if not isinstance(manifest.get(name), kind):
            expected = "text" if kind is str else "a mapping"
            raise DamagedError(f"{path} has no valid entry {name!r}, expected {expected}; {REMEDY}")
    if not is_trusting():
        _require_unchanged(path, manifest)
    return manifest


def _require_unchanged(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise DamagedError where a manifest differs from its key or its checksum."""
    described = {name: manifest[name] for name in ("kind", "config", "inputs")}
    agrees = manifest["key"] == _digest(described | {"hardneg": manifest["versions"].get("hardneg")})
    if agrees and manifest.get(CHECKSUM) == _checksum(manifest):
        return
    if not agrees or (edited := _edited.get()) is None:
        raise DamagedError(f"{path} was changed or damaged after it was written; {REMEDY}")
    edited.add(path)


def _checksum(manifest: Mapping[str, Any]) -> str:
    return _digest({name: manifest[name] for name in ENTRIES})


def _require_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise DamagedError for the first file that is missing or differs from the manifest."""
    for name, digest in listed_hashes(manifest).items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path} is missing, but its manifest lists it; {REMEDY}")
        if file_hash(path) != digest:
            raise DamagedError(
                f"{path} differs from its manifest: it was changed or damaged after it was written; {REMEDY}"
            )


def is_artifact(folder: Path) -> bool:
    """Return True where a folder holds a finished artifact of any kind."""
    return (folder / MANIFEST).is_file()


def is_finished(folder: Path, key: str) -> bool:
    """Return True where `folder` holds the artifact with this key, False where it is empty or missing.

    Raises ConfigError where it holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if (found := key_at(folder)) != key:
        what = f"files without a {MANIFEST}" if found is None else "made from other inputs or settings"
        raise ConfigError(
            f"{folder} already holds something else ({what}); choose another --out or remove the folder first"
        )
    return True


def key_at(folder: Path) -> str | None:
    """Return the key of the artifact in a folder; None where there is no finished one."""
    return str(_parse_manifest(folder / MANIFEST)["key"]) if is_artifact(folder) else None


def kind_at(folder: Path) -> str | None:
    """Return the kind of the artifact in a folder; None where there is no finished one."""
    return str(_parse_manifest(folder / MANIFEST)["kind"]) if is_artifact(folder) else None


def partial_folder(folder: Path, key: str) -> Path:
    """Return where an artifact is written until it is finished; work under another key gets another folder."""
    return folder.with_name(f".{folder.name}.{key[:12]}.partial")


def replaced_folder(folder: Path) -> Path:
    """Return where an artifact is kept while another one takes its place."""
    return folder.with_name(f".{folder.name}.replaced")


@contextmanager
def writing(
    folder: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any] | None = None,
    *,
    replace: bool = False,
) -> Iterator[Path]:
    """Yield a folder to write into; on success add the manifest and rename the folder to `folder`.

    notes: what a reader should know (rows left out, coverage); may be filled while writing. Unfinished files are kept
    when the block fails, so that work with checkpoints can continue. replace: take the place of another artifact.
    Raises ConfigError where `folder` holds another artifact otherwise, or where another process is making the same one.
    """
    key = artifact_key(kind, config, inputs)
    if not (replace and is_artifact(folder)):
        is_finished(folder, key)
    unfinished = partial_folder(folder, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(unfinished), name_disk_errors(folder):
        try:
            unfinished.mkdir(exist_ok=True)
            remove_hidden(unfinished)
            yield unfinished
            remove_hidden(unfinished)
            write_manifest(unfinished, _describe(unfinished, kind, key, config=config, inputs=inputs, notes=notes))
            _move_into_place(unfinished, folder, key, replace=replace)
        finally:
            with suppress(OSError):
                unfinished.rmdir()  # nothing to continue from


@contextmanager
def _lock(unfinished: Path, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock of an unfinished folder. Raises ConfigError where another process holds it."""
    lock = FileLock(unfinished.with_suffix(".lock"), timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        name = unfinished.name[1:].rsplit(".", 2)[0]
        raise ConfigError(
            f"another process is making {unfinished.with_name(name)}; wait for it, or choose another --out"
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: a process that waits makes a new file
        lock.release()


def _describe(
    folder: Path,
    kind: str,
    key: str,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the entries of a manifest."""
    files, existing = content_hashes(folder), content_hashes(folder, leave_out=UNLISTED)
    return {
        "kind": kind,
        "key": key,
        "config": dict(config),
        "inputs": dict(inputs),
        "notes": dict(notes or {}),
        "files": files,
        "costs": {name: digest for name, digest in existing.items() if name not in files},
        "versions": {"hardneg": version("hardneg"), **{name: _version(name) for name in LIBRARIES}},
    }


def write_manifest(folder: Path, entries: Mapping[str, Any]) -> None:
    """Write manifest.json with these entries and their checksum."""
    values: dict[str, Any] = json.loads(json.dumps({name: entries[name] for name in ENTRIES}, default=str))
    write_json(folder / MANIFEST, values | {CHECKSUM: _checksum(values)})


def _move_into_place(unfinished: Path, folder: Path, key: str, *, replace: bool) -> None:
    """Flush a complete folder and rename it."""
    flush_tree(unfinished)
    if replace and folder.exists() and key_at(folder) != key:
        shutil.rmtree(replaced_folder(folder), ignore_errors=True)
        os.replace(folder, replaced_folder(folder))  # `Stage.run` removes it
    elif is_finished(folder, key):  # another process finished the same artifact in the meantime
        shutil.rmtree(unfinished)
        return
    os.replace(unfinished, folder)  # replaces an empty folder, if there is one
    flush(folder.parent)


def remove_unfinished(folder: Path, key: str | None = None) -> None:
    """Remove unfinished work and locks beside a finished folder, which killed processes left, under one key or all.

    Work of running processes stays.
    """
    keys = "[0-9a-f]{12}" if key is None else key[:12]
    pattern = re.compile(rf"(\.{re.escape(folder.name)}\.({keys}))\.(partial|lock)")
    matches = map(pattern.fullmatch, os.listdir(folder.parent))
    for name in {match[1] for match in matches if match is not None}:
        unfinished = folder.with_name(f"{name}.partial")
        with suppress(ConfigError), _lock(unfinished, seconds=0):
            shutil.rmtree(unfinished, ignore_errors=True)


def _version(library: str) -> str:
    try:
        return version(library)
    except Exception:  # noqa: BLE001 - an optional library may be absent
        return "absent"
