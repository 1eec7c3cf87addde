"""Vectors of encoded texts on disk, found again by content: audit, retrieval and fusion encode the same texts once."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hardneg import storage
from hardneg.types import Floats

VARIABLE = "HARDNEG_VECTOR_CACHE"
"""Environment variable with the folder of encoded texts; empty: texts are encoded every time."""
LIMIT = 2 * 1024**3
"""Bytes of the folder; beyond them the files that were not read for the longest time are removed."""
LIBRARIES = ("torch", "transformers", "sentence-transformers")
"""A vector may change with their versions."""


def vector_folder() -> Path | None:
    """Return HARDNEG_VECTOR_CACHE, else `vectors` in the user's cache; None where the variable is empty."""
    own = os.environ.get(VARIABLE)
    if own is None:
        return storage.cache_folder() / "vectors"
    return Path(own) if own else None


def vectors_key(encoder: Sequence[object], texts: Sequence[str]) -> str:
    """Return a hash of texts in their order, the encoder's identity and settings, and the libraries' versions.

    All texts of one call are hashed together, since the last bits of a vector depend on the texts beside it.
    """
    values = [list(map(str, encoder)), [version(name) for name in LIBRARIES], list(texts)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def read_cached_vectors(key: str, n_texts: int) -> Floats | None:
    """Return the (n_texts, size) vectors that were stored under a key; None where there are none, or a damaged file."""
    folder = vector_folder()
    if folder is None:
        return None
    path = folder / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:  # a zip archive, whose checksum finds damage
            vectors = file["vectors"]
        os.utime(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == n_texts and vectors.dtype == np.float32 else None


def write_cached_vectors(key: str, vectors: Floats) -> None:
    """Store vectors under a key, and keep the folder below its limit. A folder that cannot be written stays as it is."""
    folder = vector_folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with storage.replacing(folder / f"{key}.npz") as new, new.open("wb") as file:
            np.savez(file, vectors=vectors)
        _remove_oldest(folder)


def _remove_oldest(folder: Path) -> None:
    files = [(entry.stat(), entry.path) for entry in os.scandir(folder) if entry.name.endswith(".npz")]
    excess = sum(stat.st_size for stat, _ in files) - LIMIT
    for stat, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
        if excess <= 0:
            return
        Path(path).unlink(missing_ok=True)
        excess -= stat.st_size
