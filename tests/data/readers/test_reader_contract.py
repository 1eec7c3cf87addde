"""What every reader promises about the bytes of its files; a format says only how a row is written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hardneg.data.dataset import Dataset
from hardneg.data.importing import StreamedDataset, read_into_memory
from hardneg.data.readers import (
    open_amazon,
    open_movielens,
    open_recbole,
    open_selfrec,
    open_yelp,
    read_lightgcn,
    read_pairs,
    read_table,
)
from hardneg.data.readers.text_format import TextOptions

Row = tuple[str, str, str, str]
N_ROWS = 30
ROWS: list[Row] = [(str(n), str(100 + n), "4", str(1_500_000_000 + n)) for n in range(N_ROWS)]


@dataclass(frozen=True)
class Format:
    """A format of files: how a row is written and a file is read."""

    open: Callable[[Path], Dataset | StreamedDataset]
    line: Callable[[Row], str]
    header: str = ""
    has_ratings: bool = True

    def write(self, rows: list[Row], end: str = "\n") -> bytes:
        lines = [*([self.header] if self.header else []), *map(self.line, rows)]
        return "".join(line + end for line in lines).encode()

    def read(self, path: Path, data: bytes) -> Dataset:
        path.write_bytes(data)
        source = self.open(path)
        return source if isinstance(source, Dataset) else read_into_memory(source)


def join(delimiter: str, n_fields: int = 4) -> Callable[[Row], str]:
    return lambda row: delimiter.join(row[:n_fields])


def objects(*names: str, size: int = 1) -> Callable[[Row], str]:
    def line(row: Row) -> str:
        numbers = (float(row[2]) if row[2] == "4" else row[2], int(row[3]) * size)
        return json.dumps(dict(zip(names, (*row[:2], *numbers), strict=True)))

    return line


OLD, NEW = ("reviewerID", "asin", "overall", "unixReviewTime"), ("user_id", "parent_asin", "rating", "timestamp")
NAMES = ("user_id", "item_id", "rating", "timestamp")
TYPED = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
FORMATS = {
    "table": Format(read_table, join(","), ",".join(NAMES)),
    "table, semicolons": Format(read_table, join(";"), ";".join(NAMES)),
    "table, tabs": Format(read_table, join("\t"), "\t".join(NAMES)),
    "table, quoted": Format(read_table, lambda row: '"' + '","'.join(row) + '"', ",".join(NAMES)),
    "recbole": Format(lambda path: open_recbole({"train": path}), join("\t"), TYPED),
    "movielens 100k": Format(open_movielens, join("\t")),
    "movielens 1m": Format(open_movielens, join("::")),
    "movielens 20m": Format(open_movielens, join(","), "userId,movieId,rating,timestamp"),
    "selfrec": Format(lambda path: open_selfrec({"train": path}), join(" ", 3)),
    "pairs": Format(lambda path: read_pairs({"train": path}), join(" ", 2), has_ratings=False),
    "lightgcn": Format(lambda path: read_lightgcn({"train": path}), join(" ", 2), has_ratings=False),
    "amazon 2014": Format(lambda path: open_amazon(2014, path), objects(*OLD)),
    "amazon 2018": Format(lambda path: open_amazon(2018, path), objects(*OLD)),
    "amazon 2023": Format(lambda path: open_amazon(2023, path), objects(*NEW, size=1000)),
    "yelp": Format(
        open_yelp, lambda row: json.dumps(dict(zip(("user_id", "business_id", "stars"), row, strict=False)))
    ),
}


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def pairs_of(data: Dataset) -> list[tuple[str, str]]:
    return data.interactions.select("user_id", "item_id").rows()


PAIRS = [row[:2] for row in ROWS]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_line_ends_byte_order_marks_and_gzip_are_passed_over(
    tmp_path: Path, form: Format, end: str, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    text = form.write(ROWS, end).decode()
    data = form.read(tmp_path / "file.any", pack(text.encode(encoding)))
    assert pairs_of(data) == PAIRS
    assert data.row_report == ()
    assert data.files["file.any"].encoding == encoding.removesuffix("-sig")


@pytest.mark.parametrize("fault", ["bad byte", "NUL", "ragged", "no id", "bad number", "blank"])
def test_a_fault_costs_its_row_and_is_counted(tmp_path: Path, form: Format, fault: str) -> None:
    user, item, rating, time = ROWS[7]
    lines = form.write(ROWS).splitlines()
    number = 7 + bool(form.header)
    line = lines[number]
    middle = line.index(item.encode()) + 1
    lists, has_names = form is FORMATS["lightgcn"], form.header or line.startswith(b"{")
    if (fault == "no id" and not has_names) or (fault == "bad number" and not form.has_ratings):
        pytest.skip("a blank id is a line with fewer fields, and there are no ratings")
    lines[number] = {
        "bad byte": line[:middle] + b"\xff" + line[middle:],
        "NUL": line[:middle] + b"\0" + line[middle:],
        "ragged": b"7 x" if lists else line[:middle] if line.startswith(b"{") else line.split(item.encode())[0] + b"8",
        "no id": form.line((user, " ", rating, time)).encode(),
        "bad number": form.line((user, item, "four", time)).encode(),
        "blank": b"  ",
    }[fault]
    if fault == "ragged" and b"," not in line and len(line.split()) == 2 and not lists:
        lines[number] = b"7"
    data = form.read(tmp_path / "file.any", b"\n".join(lines))
    assert pairs_of(data) == PAIRS[:7] + PAIRS[8:]
    counts = [(issue.where, issue.count) for issue in data.row_report]
    assert counts == ([] if fault == "blank" else [("file.any", 1)])
    assert all(f"line {number + 1}" in issue.first for issue in data.row_report)


@pytest.mark.parametrize("name", ["table", "recbole", "selfrec"])
def test_an_encoding_that_is_given_is_read(tmp_path: Path, name: str) -> None:
    options = TextOptions.of(encoding="cp1252")
    opened = {
        "table": lambda path: read_table(path, options=options),
        "recbole": lambda path: open_recbole({"train": path}, options=options),
        "selfrec": lambda path: open_selfrec({"train": path}, options),
    }
    form = Format(opened[name], FORMATS[name].line, FORMATS[name].header)
    rows = [(f"Käufer{user}", *others) for user, *others in ROWS]
    data = form.read(tmp_path / "file.any", form.write(rows).decode().encode("cp1252"))  # type: ignore[arg-type]
    assert pairs_of(data) == [row[:2] for row in rows]


def test_every_reader_says_which_columns_it_used(tmp_path: Path, form: Format) -> None:
    summary = form.read(tmp_path / "file.any", form.write(ROWS)).files["file.any"]
    assert summary.encoding == "utf-8"
    assert summary.delimiter or form.line(ROWS[0]).startswith("{")
    if form.header or not summary.delimiter:
        assert {"user_id", "item_id", "rating"} <= set(summary.columns)
        assert summary.unused == []
