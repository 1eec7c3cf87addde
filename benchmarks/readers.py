"""Import of ten million Amazon reviews from gzip JSON lines to a dataset folder: seconds, rows per second, memory.

    python benchmarks/readers.py [--rows 10000000] [--case "all rows"] [--folder DIR] [--out benchmarks/results/readers.md]

The rows are synthetic, in the schema of the 2018 release: reviews of 40 words on average, users and items by a power law.
Each import runs in a process of its own, to measure its peak memory. The time includes reading, filtering and writing,
but neither generating the file nor hashing it.
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
from hardneg.data import dataset as datasets
from hardneg.data.presets import PRESETS
from hardneg.data.readers import open_amazon
from hardneg.stage import Stage

BLOCK = 100_000
PRESET = "hnlmrec-toys"
TOYS = PRESETS[PRESET].filters
CASES = {
    "all rows": (None, True),
    "the 10-core of all rows": (FilterConfig(kcore=10), True),
    PRESET: (TOYS, True),
    f"{PRESET}, without reviews": (TOYS, False),
}
"""Name of a case -> (filters, with reviews)."""


def generate(path: Path, rows: int) -> int:
    """Write `rows` reviews as gzip JSON lines and return the number of bytes before compression."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), rng.integers(2, 9))) for _ in range(5000)])
    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2012, 2019))
    pool = pl.Series([" ".join(rng.choice(words, size)) for size in rng.geometric(1 / 40, 20_000)])
    size = 0
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        for start in range(0, rows, BLOCK):
            data = draw_block(rng, min(BLOCK, rows - start), rows, pool, begin, end).write_ndjson().encode()
            size += len(data)
            file.write(packer.compress(data))
        file.write(packer.flush())
    return size


def draw_block(rng: np.random.Generator, n: int, rows: int, pool: pl.Series, begin: int, end: int) -> pl.DataFrame:
    """Draw reviews; the power law of users and items leaves a non-empty 10-core."""
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


def measure(path: Path, out: Path, case: str) -> None:
    """Import once and print the measurements as a line of JSON."""
    filters, with_reviews = CASES[case]
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    source = open_amazon(2018, path, with_reviews=with_reviews)
    Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source, filters)).run(out)
    measured = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "before": before, "peak": peak()}
    n_kept = pl.scan_parquet(out / "interactions.parquet").select(pl.len()).collect().item()
    print(json.dumps({**measured, "kept": n_kept}))


def peak() -> float:
    """Return the peak memory of this process in MiB. On Linux, `ru_maxrss` includes the parent's memory at the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def results(rows: int, root: Path, cases: list[str]) -> Iterator[list[str]]:
    """Yield one row of the table per case."""
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        path = folder / "reviews.json.gz"
        size = generate(path, rows)
        print(f"{rows:,} rows, {size / 2**30:.2f} GiB, {path.stat().st_size / 2**30:.2f} GiB as gzip", file=sys.stderr)
        for number, case in enumerate(cases):
            options = ["--measure", case, "--file", str(path), "--to", str(folder / str(number))]
            command = [sys.executable, __file__, *options]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            measured = json.loads(done.stdout)
            yield [
                f"{rows:,} ({size / 2**30:.2f} GiB)",
                case,
                f"{measured['kept']:,}",
                f"{measured['wall']:.1f}",
                f"{measured['cpu']:.1f}",
                f"{rows / measured['wall']:,.0f}",
                f"{measured['before']:.0f}",
                f"{measured['peak']:.0f}",
            ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="Rows of the file; repeatable (default 10 million).")
    parser.add_argument("--folder", type=Path, help="Folder of the temporary files.")
    parser.add_argument(
        "--case", choices=list(CASES), action="append", help="Filters of the import; repeatable (default all)."
    )
    parser.add_argument("--out", type=Path, help="Markdown file, written after every import.")
    parser.add_argument("--measure", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.file, arguments.to, arguments.measure)
        return
    rows: list[list[str]] = []
    for count in arguments.rows or [10_000_000]:
        for row in results(count, arguments.folder, arguments.case or list(CASES)):
            rows.append(row)
            print(" | ".join(row), file=sys.stderr)
            if arguments.out is not None:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(report(rows))
    print(report(rows))


def report(rows: list[list[str]]) -> str:
    head = ["rows of the file", "filters", "rows kept", "wall seconds", "CPU seconds", "rows per second"]
    head += ["MiB before the import", "peak MiB"]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "# Reading Amazon reviews\n\n"
        "Synthetic reviews in the schema of 2018, from gzip JSON lines to a dataset folder, one run each in its own process. "
        f"{machine()}, load averages at the end {load()}, polars {pl.__version__}.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
