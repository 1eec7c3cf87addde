"""Delimited text into columns: what a row costs, and where it ends."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.dataset import ROW
from hardneg.data.readers import line_blocks
from hardneg.data.readers.delimited import MIN_BAD_LINES, read_columns
from hardneg.data.readers.text_format import WHITESPACE, TextFormat
from hardneg.data.row_report import RowCounter
from hardneg.errors import DataError

COMMA = TextFormat(",", '"')
Rows = list[tuple[object, ...]]


def read(
    folder: Path, text: str | bytes, form: TextFormat = COMMA, names: str = "abc", *, header: bool = False
) -> tuple[Rows, list[tuple[str, int, str]], RowCounter]:
    path = folder / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    counter = RowCounter()
    frame = pl.concat(list(read_columns(path, tuple(names), form, counter, header=header)))
    assert frame.schema == {ROW: pl.UInt32, **dict.fromkeys(names, pl.String)}
    return frame.rows(), [(issue.reason, issue.count, issue.first) for issue in counter.row_report], counter


@pytest.fixture(params=[2**23, 7], ids=["one block", "small blocks"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows must not depend on where a block ends."""
    monkeypatch.setattr(line_blocks, "BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("block")
def test_quoted_fields_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    text = 'a,b,c\r\n1,"x, ""y""",2\r\n3,"four\r\n\r\nfive, and more\r\n",""\r\n6,7,8'
    rows, issues, counter = read(tmp_path, text, header=True)
    assert rows == [(2, "1", 'x, "y"', "2"), (3, "3", "four\n\nfive, and more\n", ""), (7, "6", "7", "8")]
    assert issues == []
    assert counter.file("x.csv").remarks == ["1 row has quoted line breaks (first: line 3)"]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("line", "reason", "first"),
    [
        ("1,2", "without exactly 3 fields", "line 2: '1,2'"),
        ("1,2,3,4", "without exactly 3 fields", "line 2: '1,2,3,4'"),
        ('1,"2,3,4', "with a quote that does not close", "line 2: '1,\"2,3,4'"),
        ('"1,2,3', "with a quote that does not close", "line 2: '\"1,2,3'"),
        ('1,"2"x,3', "with text after a closing quote", "line 2: '1,\"2\"x,3'"),
        (b"1,\xe9,3", "with bytes that are not utf-8", "line 2: '1,\ufffd,3'"),
        (b"1,\0,3", "with NUL bytes", "line 2: '1,\\x00,3'"),
    ],
)
def test_a_bad_line_costs_its_row(tmp_path: Path, line: str | bytes, reason: str, first: str) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    rows, issues, _ = read(tmp_path, b'a,"b",c\n' + data + b'\nd,e,f\n"g","h","i"\nj,k,"l\nm"\nn,o,p\n')
    kept = [(1, "a", "b", "c"), (3, "d", "e", "f"), (4, "g", "h", "i"), (5, "j", "k", "l\nm"), (7, "n", "o", "p")]
    assert rows == kept
    assert issues == [(reason, 1, first)]


@pytest.mark.usefixtures("block")
def test_a_quote_within_a_field_is_an_ordinary_character(tmp_path: Path) -> None:
    rows, issues, _ = read(tmp_path, '1,2,5" nails\n3,4"",x"\n')
    assert rows == [(1, "1", "2", '5" nails'), (2, "3", '4""', 'x"')]
    assert issues == []


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("apart", [1, 5, 30])
def test_two_stray_quotes_do_not_swallow_the_rows_between(tmp_path: Path, apart: int) -> None:
    lines = [f"u{n},i{n},Works well" for n in range(40)]
    lines[4] = 'u4,i4,"Sturdy'
    lines[4 + apart] = f'u{4 + apart},i{4 + apart},works"'
    rows, issues, _ = read(tmp_path, "\n".join(lines))
    assert [row[1] for row in rows] == [f"u{n}" for n in range(40) if n != 4]
    assert issues == [("with a quote that does not close", 1, "line 5: 'u4,i4,\"Sturdy'")]


@pytest.mark.usefixtures("block")
def test_a_text_over_many_lines_is_left_out_whole(tmp_path: Path) -> None:
    text = "\n".join(f"paragraph, {n}, of a text" for n in range(27))
    rows, issues, _ = read(tmp_path, f'1,2,3\n4,5,"{text}"\n6,7,8\n')
    assert [row[0] for row in rows] == [1, 29]
    assert issues == [
        ("with a quoted field over more than 10 lines", 1, "lines 2 to 28: '4,5,\"paragraph, 0, of a text'")
    ]


def test_without_quotes_every_line_is_a_row(tmp_path: Path) -> None:
    rows, issues, _ = read(tmp_path, '1\t"2\t3\n4\t5"\t"6"\n', TextFormat("\t"))
    assert rows == [(1, "1", '"2', "3"), (2, "4", '5"', '"6"')]
    assert issues == []
    rows, _, _ = read(tmp_path, "1::2::3\n4:::5::6\n", TextFormat("::"))
    assert rows == [(1, "1", "2", "3"), (2, "4", ":5", "6")]
    rows, _, _ = read(tmp_path, " 1  2\t3 \n\n", TextFormat(WHITESPACE))
    assert rows == [(1, "1", "2", "3")]


@pytest.mark.parametrize("form", [TextFormat("::", '"'), TextFormat("\u00a6", '"'), TextFormat(",", "\u00bb")])
def test_delimiters_and_quotes_of_several_bytes(tmp_path: Path, form: TextFormat) -> None:
    lines = [["1", "2", "3"], ["4", f"{form.quote}5{form.delimiter}6{form.quote}", "7"], ["8", "9"]]
    rows, issues, _ = read(tmp_path, "\n".join(form.delimiter.join(line) for line in lines), form)
    assert rows == [(1, "1", "2", "3"), (2, "4", f"5{form.delimiter}6", "7")]
    assert [count for _, count, _ in issues] == [1]


def test_a_line_that_begins_like_a_compressed_file_is_a_row(tmp_path: Path) -> None:
    rows, _, _ = read(tmp_path, b'x\x01,"b",c\nd,e,f\n')
    assert rows == [(1, "x\x01", "b", "c"), (2, "d", "e", "f")]


def test_a_file_of_another_encoding_is_refused_and_read_if_it_is_given(tmp_path: Path) -> None:
    data = "".join(f"{n},Müller,3\n" if n % 10 == 0 else f"{n},Smith,3\n" for n in range(10 * MIN_BAD_LINES))
    with pytest.raises(DataError, match=r"x\.csv is not utf-8: 20 of 200 lines hold other bytes; .*--encoding latin-1"):
        read(tmp_path, data.encode("cp1252"))
    rows, issues, counter = read(tmp_path, data.encode("cp1252"), TextFormat(",", '"', "cp1252"))
    assert (len(rows), rows[0][2], issues) == (200, "Müller", [])
    assert counter.file("x.csv").notes() == {"delimiter": "comma", "quote": '"', "encoding": "cp1252"}
    rows, issues, _ = read(
        tmp_path, data.replace("Smith", "Sm\x81th", 1).encode("latin-1"), TextFormat(",", '"', "cp1252")
    )
    assert (len(rows), issues) == (199, [("with bytes that are not cp1252", 1, "line 2: '1,Sm\ufffd\ufffd\ufffdth,3'")])


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('1,"2",3,4,5\n')
    names = ("text", "fields", "_row", "", "row")
    (frame,) = read_columns(path, names, COMMA, RowCounter())
    assert frame.columns == [ROW, *names]


cells = st.text(alphabet='ab ,;"\n\r\u00e9', max_size=6)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 60),
)
def test_whatever_the_standard_library_writes_is_read_back(
    tmp_path: Path, table: list[tuple[str, ...]], quoting: int, end: str, size: int
) -> None:
    """Except texts whose lines all look like rows, or of too many lines."""
    table = [tuple(cell.replace("\r", "") for cell in row) for row in table]
    file = io.StringIO()
    csv.writer(file, quoting=quoting, lineterminator=end).writerows(table)  # type: ignore[arg-type]
    text = file.getvalue() + f'"x","y","z"{end}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_blocks, "BLOCK_BYTES", size)
        rows, issues, _ = read(tmp_path, text)
    if any(COMMA.split(line).fields[2:] for row in table for cell in row for line in cell.split("\n")[1:]):
        assert len(rows) + sum(count for _, count, _ in issues) >= 1
        return
    if not issues:
        assert [row[1:] for row in rows] == [*table, ("x", "y", "z")]
