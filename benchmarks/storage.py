"""Disk and memory of a million pairs' vectors: ours and the pickle that HNLMRec released.

    python benchmarks/storage.py [--pairs 10000] [--width 384 --width 4096] [--out benchmarks/results/storage.md]

The released code (negative_samples_with_fn.py) pickles a dict, user -> item -> the vector as a list of one list of Python
floats, and training loads all of it. Ours is a memory-mapped float16 matrix by pair index, of which rows of a batch are
read. Both hold the same random unit vectors (the released numbers come from float16 weights, so they are float16 values).
Memory is the growth of a fresh process in resident bytes, from before the file is opened until `--batches` batches of
2,048 random pairs were read as float32. It is given with and without the mapped pages of our file, which processes share
and the system can reclaim. Fewer pairs than a million are measured, and the figures scaled.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MILLION = 1_000_000
BATCH = 2048
PER_USER = 10
"""Pairs per user, about as many as in the paper's data."""


# --- preparation


def make(folder: Path, pairs: int, width: int) -> None:
    """Write the same vectors in our format and in the released one."""
    rng = np.random.default_rng(0)
    ours = np.lib.format.open_memmap(folder / "embeddings.npy", "w+", np.float16, (pairs, width))
    released: dict[int, dict[int, list[list[float]]]] = {}
    for row in range(pairs):
        vector = rng.standard_normal(width)
        ours[row] = vector / np.linalg.norm(vector)
        user, item = divmod(row, PER_USER)
        released.setdefault(user, {})[item] = [ours[row].astype(float).tolist()]
    ours.flush()
    with (folder / "embeddings.pkl").open("wb") as file:
        pickle.dump(released, file)


# --- in a separate process


def resident() -> dict[str, int]:
    """Return resident bytes of this process: its own, and those of mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
    return {"own": sizes["RssAnon"], "mapped": sizes["RssFile"]}


def open_ours(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    vectors = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    return lambda rows: vectors[rows].astype(np.float32)


def open_released(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    with (folder / "embeddings.pkl").open("rb") as file:
        vectors = pickle.load(file)  # noqa: S301 - written by this program

    def read(rows: np.ndarray) -> np.ndarray:
        return np.array([vectors[row // PER_USER][row % PER_USER][0] for row in rows.tolist()], np.float32)

    return read


def child(which: str, folder: Path, pairs: int, batches: int) -> None:
    rng = np.random.default_rng(1)
    before, total = resident(), 0.0
    read = (open_ours if which == "ours" else open_released)(folder)
    for _ in range(batches):
        total += float(read(rng.integers(pairs, size=BATCH)).sum())
    after = resident()
    print(json.dumps({name: after[name] - before[name] for name in before} | {"sum": total}))


# --- in the first process


def measured(which: str, folder: Path, pairs: int, batches: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", which, str(folder), str(pairs), str(batches)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(pairs: int, width: int, batches: int) -> list[list[str]]:
    """Return rows of the table: disk, memory with mapped pages, own memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, pairs, width)
        disk = [(folder / f"embeddings.{ending}").stat().st_size for ending in ("npy", "pkl")]
        ours, released = (measured(which, folder, pairs, batches) for which in ("ours", "released"))
    assert np.isclose(ours["sum"], released["sum"]), "the two files hold different vectors"
    theirs = released["own"] + released["mapped"]
    # The size of a batch does not depend on the number of pairs; mapped pages and the pickle grow with it.
    scale = MILLION / pairs
    own = max(ours["own"], 0)
    lines = [
        ("on disk", disk[0] * scale, disk[1] * scale, 4),
        ("in memory, with all mapped pages", own + ours["mapped"] * scale, theirs * scale, 16),
        ("in memory, without mapped pages", own, theirs * scale, 16),
    ]
    return [[str(width), place, gib(a), gib(b), ratio(b, a), str(target)] for place, a, b, target in lines]


def gib(size: float) -> str:
    return f"{size / 2**30:.3f}"


def ratio(large: float, small: float) -> str:
    return f"{large / small:,.1f}" if small > 0 else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--width", type=int, action="append", help="of the vectors; 384 and 4096 by default")
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        which, folder, pairs, batches = given.child
        child(which, Path(folder), int(pairs), int(batches))
        return
    lines = ["| width | a million pairs, GiB | ours | released pickle | times smaller | target |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for width in given.width or (384, 4096):
        lines += ["| " + " | ".join(cells) + " |" for cells in compare(given.pairs, width, given.batches)]
    text = "\n".join(
        [
            "# Storage of vectors",
            "",
            f"`python benchmarks/storage.py --pairs {given.pairs} --batches {given.batches}`: measured with "
            f"{given.pairs:,} pairs and scaled to a million, each memory figure in a process of its own, after "
            f"{given.batches} batches of {BATCH:,} random pairs.",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
