"""Ten million Amazon reviews from gzip JSON lines to a dataset folder: seconds, rows a second, memory.

    python benchmarks/readers.py [--rows 10000000] [--way "all rows"] [--folder DIR] [--out benchmarks/results/readers.md]

Rows are made up, in the schema of the 2018 release: reviews of 40 words on average, users and items by a power law. Each
import is a process of its own, so that its peak memory is that import's. The seconds are those of reading, filtering and
writing; making the file is no part of them, nor is hashing it, which the command does before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from machine import load, machine

from hardneg.data import FilterConfig, importing
from hardneg.data.presets import PRESETS
from hardneg.data.readers import open_amazon
from hardneg.stage import Stage

BLOCK = 100_000
PRESET = "hnlmrec-toys"
TOYS = PRESETS[PRESET].filters
WAYS = {
    "all rows": (None, True),
    "the 10-core of all rows": (FilterConfig(kcore=10), True),
    PRESET: (TOYS, True),
    f"{PRESET}, without reviews": (TOYS, False),
}
"""Name -> (filters, with reviews)."""


def make(path: Path, rows: int) -> int:
    """Write `rows` reviews as gzip JSON lines; bytes before compression."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), rng.integers(2, 9))) for _ in range(5000)])
    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2012, 2019))
    pool = pl.Series([" ".join(rng.choice(words, size)) for size in rng.geometric(1 / 40, 20_000)])
    size = 0
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        for start in range(0, rows, BLOCK):
            data = block(rng, min(BLOCK, rows - start), rows, pool, begin, end).write_ndjson().encode()
            size += len(data)
            file.write(packer.compress(data))
        file.write(packer.flush())
    return size


def block(rng: np.random.Generator, n: int, rows: int, pool: pl.Series, begin: int, end: int) -> pl.DataFrame:
    """Users and items by a power law, so that a 10-core is left."""
    users = (rows / 4 * rng.random(n) ** 3).astype(np.int64)
    items = (rows / 40 * rng.random(n) ** 3).astype(np.int64)
    return pl.DataFrame(
        {
            "overall": rng.choice([1.0, 2, 3, 4, 5], n, p=[0.08, 0.05, 0.09, 0.18, 0.6]),
            "verified": rng.random(n) < 0.9,
            "reviewTime": ["09 13, 2016"] * n,
            "reviewerID": pl.Series(users).cast(pl.String).str.zfill(13).str.replace("^", "A"),
            "asin": pl.Series(items).cast(pl.String).str.zfill(9).str.replace("^", "B"),
            "style": [{"Format:": " Hardcover"}] * n,
            "reviewerName": ["A customer"] * n,
            "reviewText": pool.gather(rng.integers(len(pool), size=n)),
            "summary": pool.gather(rng.integers(len(pool), size=n)).str.slice(0, 25),
            "unixReviewTime": rng.integers(begin, end, n),
        }
    )


def measure(path: Path, out: Path, way: str) -> None:
    """One import; what it took as a line of JSON."""
    filters, with_reviews = WAYS[way]
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    Stage(
        importing.KIND,
        {},
        {},
        lambda draft: importing.write_streamed(draft, open_amazon(2018, path, with_reviews=with_reviews), filters),
    ).run(out)
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "before": before, "peak": peak()}
    kept = pl.scan_parquet(out / "interactions.parquet").select(pl.len()).collect().item()
    print(json.dumps({**found, "kept": kept}))


def peak() -> float:
    """MiB that this process had at most so far. Linux counts into `ru_maxrss` what the parent had when it forked."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def results(rows: int, root: Path, ways: list[str]) -> Iterator[list[str]]:
    """A row of the table a way."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        path = folder / "reviews.json.gz"
        size = make(path, rows)
        print(f"{rows:,} rows, {size / 2**30:.2f} GiB, {path.stat().st_size / 2**30:.2f} GiB as gzip", file=sys.stderr)
        for place, way in enumerate(ways):
            command = [
                sys.executable,
                __file__,
                "--measure",
                way,
                "--file",
                str(path),
                "--to",
                str(folder / str(place)),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            yield [
                f"{rows:,} ({size / 2**30:.2f} GiB)",
                way,
                f"{found['kept']:,}",
                f"{found['wall']:.1f}",
                f"{found['cpu']:.1f}",
                f"{rows / found['wall']:,.0f}",
                f"{found['before']:.0f}",
                f"{found['peak']:.0f}",
            ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="of the file; may be given again (10 million)")
    parser.add_argument("--folder", type=Path, help="where the temporary files go")
    parser.add_argument("--way", choices=list(WAYS), action="append", help="what to keep; may be given again (all)")
    parser.add_argument("--out", type=Path, help="written after every import, so that a run may be stopped")
    parser.add_argument("--measure", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.file, arguments.to, arguments.measure)
        return
    rows: list[list[str]] = []
    for count in arguments.rows or [10_000_000]:
        for row in results(count, arguments.folder, arguments.way or list(WAYS)):
            rows.append(row)
            print(" | ".join(row), file=sys.stderr)
            if arguments.out is not None:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(report(rows))
    print(report(rows))


def report(rows: list[list[str]]) -> str:
    head = [
        "rows of the file",
        "what is kept",
        "rows kept",
        "wall seconds",
        "CPU seconds",
        "rows a second",
        "MiB before the import",
        "MiB at most",
    ]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "# Reading Amazon reviews\n\n"
        f"Made-up reviews in the schema of 2018, gzip JSON lines to a dataset folder, one run each in a process of its own. "
        f"{machine()}, load averages at the end {load()}, polars {pl.__version__}.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
