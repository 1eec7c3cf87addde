"""One table in fifty dialects, and damaged in two thousand places."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from hardneg.data.dataset import Dataset
from hardneg.data.readers import read_table
from hardneg.data.readers.text_format import TextOptions
from hardneg.errors import DataError

Table = list[list[str]]
HEADER = ["user_id", "item_id", "rating", "timestamp", "review"]
START = 1_500_000_000
TIMES: list[Callable[[int], str]] = [
    str,
    lambda time: f"{time}000",
    lambda time: f"{time}.5",
    lambda time: f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}",
    lambda time: datetime.fromtimestamp(time, timezone(timedelta(hours=2))).isoformat(),
    lambda time: f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S}",
]
IDS: list[Callable[[int], str]] = [
    str,
    lambda n: f"{n:05}",
    lambda n: f"SKU-{n}",
    lambda n: f"Müller {n}",
    lambda n: f"{n}/é",
]
QUOTING = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "none": csv.QUOTE_NONE}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"]


def write_table(rows: Table, delimiter: str, quoting: str, end: str) -> str:
    """Return the table as text."""
    file = io.StringIO()
    if len(delimiter) > 1:
        return "".join(delimiter.join(row) + end for row in rows)
    writer = csv.writer(file, delimiter=delimiter, quoting=QUOTING[quoting], lineterminator=end)  # type: ignore[arg-type]
    writer.writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("seed", range(50))
def test_a_table_reads_the_same_in_every_dialect(tmp_path: Path, seed: int) -> None:
    """Or is refused with a reason: column names in quotes, where there are none unless the user says."""
    rng = np.random.default_rng(seed)
    delimiter = [",", ";", "\t", "|", "::"][seed % 5]
    quoting, encoding, end = rng.choice(list(QUOTING)), rng.choice(ENCODINGS), rng.choice(["\n", "\r\n", "\r"])
    identify, tell = IDS[rng.integers(len(IDS))], TIMES[rng.integers(len(TIMES))]
    # A line break within a field needs quotes, and another line end than a carriage return.
    texts = (
        ["good", "", "so, so", 'the "best"', "two\nlines"] if quoting != "none" and delimiter in ",;|" else ["good", ""]
    )
    numbers = rng.integers(200, size=(60, 2)).tolist()
    pairs = [(identify(user), identify(1000 + item)) for user, item in numbers]
    reviews = [texts[n % len(texts)].replace("\n", " " if end == "\r" else "\n") for n in range(60)]
    rows = [[*pair, str(n % 5 + 1), tell(START + 7919 * n), reviews[n]] for n, pair in enumerate(pairs)]
    data = write_table([HEADER, *rows], delimiter, str(quoting), str(end)).encode(str(encoding))
    path = tmp_path / str(rng.choice(["a.csv", "a.txt", "a.dat", "a.tsv"]))
    path.write_bytes(gzip.compress(data) if rng.random() < 0.3 else data)
    options = TextOptions.of(encoding=str(encoding) if encoding in ("cp1252", "latin-1") else None)
    if quoting == "all" and delimiter == "\t":
        with pytest.raises(DataError, match=r"column names in double quotes, .*--quote"):
            read_table(path, options=options)
        options = TextOptions(quote='"', encoding=options.encoding)
    table = read_table(path, options=options)
    assert table.row_report == ()
    assert table.interactions.select("user_id", "item_id").rows() == pairs
    assert table.interactions["rating"].to_list() == [n % 5 + 1 for n in range(60)]
    assert [int(time) for time in table.interactions["timestamp"]] == [START + 7919 * n for n in range(60)]
    assert table.interactions["review"].to_list() == [review or None for review in reviews]
    assert table.files[path.name].encoding in (encoding, "utf-8", "iso8859-1")


N_FILES, N_ROWS, N_DAMAGED = 80, 400, 25
DAMAGE = ["flip", "quote", "drop delimiter", "add delimiter", "truncate", "bad byte", "NUL", "merge"]


def damage(line: bytes, kind: str, delimiter: bytes, rng: np.random.Generator) -> bytes:
    """Damage a line, which keeps its end."""
    place = int(rng.integers(1, len(line)))
    delimiters = [n for n in range(len(line)) if line.startswith(delimiter, n)]
    inserted = {"quote": b'"', "add delimiter": delimiter, "bad byte": b"\xff", "NUL": b"\0"}
    if kind in inserted:
        return line[:place] + inserted[kind] + line[place:]
    if kind == "flip":
        return line[:place] + bytes([int(rng.integers(256))]) + line[place + 1 :]
    if kind == "truncate":
        return line[:place]
    place = int(rng.choice(delimiters))
    return line[:place] + line[place + len(delimiter) :]


@pytest.mark.parametrize("part", range(4))
def test_damage_costs_the_rows_that_it_touches(tmp_path: Path, part: int) -> None:
    for seed in range(part, N_FILES, 4):
        check_damage(tmp_path / f"{seed}.txt", seed)


def check_damage(path: Path, seed: int) -> None:
    """Damage some rows of a table; all others are read, and what is not read is counted."""
    rng = np.random.default_rng(seed)
    delimiter, quoting = [
        (",", "minimal"),
        (",", "all"),
        (";", "minimal"),
        ("|", "all"),
        ("\t", "none"),
        ("::", "none"),
    ][seed % 6]
    tell, text = TIMES[seed % 2 * 3], "so, so; or not" if quoting == "minimal" else "good"
    rows = [[f"u{n}", f"i{n}", str(n % 5), tell(START + n), text if n % 3 else ""] for n in range(N_ROWS)]
    lines = write_table([HEADER, *rows], delimiter, quoting, "\n").encode().splitlines()
    touched = set(rng.choice(np.arange(1, N_ROWS), N_DAMAGED, replace=False).tolist())
    merged = set()
    for number in sorted(touched):
        kind = str(rng.choice(DAMAGE))
        if kind == "merge":
            merged.add(number)
        else:
            lines[number] = damage(lines[number], kind, delimiter.encode(), rng)
    touched |= {number + 1 for number in merged}
    data = b"".join(line + b"\n" * (number not in merged) for number, line in enumerate(lines))
    path.write_bytes(data)
    table: Dataset = read_table(path)
    kept = set(table.interactions["user_id"])
    missing = {f"u{n}" for n in range(N_ROWS) if n + 1 not in touched} - kept
    assert not missing, (seed, missing, table.row_report)
    n_rows = sum(1 for line in data.split(b"\n")[1:] if line.strip())
    n_counted = len(table.interactions) + sum(issue.count for issue in table.row_report)
    n_broken = sum(b"\n" in line for line in lines)  # a line break between quotes is legal
    assert n_rows - n_broken <= n_counted <= n_rows, (seed, table.row_report)
