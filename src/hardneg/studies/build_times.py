"""How long each shared folder took to make, noted beside it: manifests are the same on every machine, clocks are not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from hardneg import artifacts

SCHEMA = {"split": pl.String, "folder": pl.String, "seconds": pl.Float64, "mib": pl.Float64}
"""seconds: wall time; null where nobody measured, or where unfinished work of an earlier call was gone on from."""


@contextmanager
def timed(folder: Path) -> Iterator[None]:
    """Note how long the block took to make a folder; nothing where that stood already, or where the block fails.

    Of a folder that another process finished in the meantime the note is how long it was waited for.
    """
    stood = artifacts.key_at(folder)
    gone_on = any(folder.parent.glob(f".{folder.name}.{'[0-9a-f]' * 12}.partial"))
    started = time.perf_counter()
    yield
    if stood is None and (key := artifacts.key_at(folder)) is not None:
        seconds = None if gone_on else time.perf_counter() - started
        artifacts.replace_file(_note(folder), json.dumps({"key": key, "seconds": seconds}).encode() + b"\n")


def tabulate(split: str, shared: Path) -> pl.DataFrame:
    """The folders that stand in the place that a split shares, by name; empty where there is none."""
    found = (path.parent for path in shared.glob(f"*/{artifacts.MANIFEST}"))
    folders = sorted(path for path in found if not path.name.startswith("."))  # those grow yet
    rows = [{"split": split, "folder": path.name, "seconds": _seconds(path), "mib": _mib(path)} for path in folders]
    return pl.DataFrame(rows, schema=SCHEMA)


def _note(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.took.json")


def _seconds(folder: Path) -> float | None:
    try:
        noted = json.loads(_note(folder).read_text(encoding="utf-8"))
        found = noted["seconds"] if noted["key"] == artifacts.key_at(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(found) if isinstance(found, int | float) else None


def _mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
