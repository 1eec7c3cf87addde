"""Delimiter, quote and encoding: as the user gives them, or as the first lines decide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hardneg.data.readers.text_format import (
    WHITESPACE,
    TextFormat,
    TextOptions,
    detect_fields,
    detect_header,
    require_names,
)
from hardneg.errors import ConfigError, DataError


def put(folder: Path, text: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def has_ids(names: Sequence[str]) -> bool:
    return {"user", "item"} <= set(names)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "::"])
@pytest.mark.parametrize("name", ["a.csv", "a.dat", "a"])
def test_a_delimiter_is_recognised_by_content(tmp_path: Path, delimiter: str, name: str) -> None:
    path = put(
        tmp_path, delimiter.join(["user", " item", "price"]) + "\n" + delimiter.join(["a", "b", "1,5;2|x"]), name
    )
    form, names = detect_header(path, TextOptions(), has_ids)
    assert (form.delimiter, names) == (delimiter, ["user", "item", "price"])
    assert form.quote == ('"' if delimiter in ",;|" else "")


def test_names_that_are_not_known_yet_are_divided_by_the_delimiter_of_nearly_all_lines(tmp_path: Path) -> None:
    path = put(tmp_path, "who;what;how, or why\na;b;x\nc;d;e\n")
    assert detect_header(path, TextOptions(), has_ids)[1] == ["who", "what", "how, or why"]


def test_two_plausible_delimiters_are_named(tmp_path: Path) -> None:
    path = put(tmp_path, "who;what,why\na;b,c\nd;e,f\n")
    with pytest.raises(DataError, match=r"a\.txt may be divided by comma or semicolon .* choose with --delimiter"):
        detect_header(path, TextOptions(), has_ids)
    assert detect_header(path, TextOptions(delimiter=";"), has_ids)[1] == ["who", "what,why"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user item\na b\n", r"a first line without a delimiter, 'user item'.*give another with --delimiter"),
        ('"user"\t"item"\n"a"\t"b"\n', r"column names in double quotes, .*say --quote '\"' or --quote none"),
        (b"user,item,K\xe4ufer\na,b,c\n", r"a first line that is not utf-8, .*--encoding latin-1 or cp1252"),
        ("user,item\na,b\n".encode("utf-16-le"), r"holds NUL bytes, .*--encoding utf-16-le"),
        ("\n \n", "is empty"),
    ],
)
def test_an_unclear_format_says_what_to_do(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        detect_header(put(tmp_path, text), TextOptions(), has_ids)


def test_options_decide(tmp_path: Path) -> None:
    path = put(tmp_path, '"user"\t"item"\n"a"\t"b"\n'.encode("utf-16-le"))
    form, names = detect_header(path, TextOptions.of("tab", '"', "utf-16-le"), has_ids)
    assert (form, names) == (TextFormat("\t", '"', "utf-16-le"), ["user", "item"])
    form, names = detect_header(put(tmp_path, "user item\n"), TextOptions.of("space"), has_ids)
    assert (form.delimiter, names) == (" ", ["user", "item"])


def test_a_single_column_needs_no_delimiter(tmp_path: Path) -> None:
    assert detect_header(put(tmp_path, "item\n1\n"), TextOptions(), lambda names: "item" in names)[1] == ["item"]


def test_files_without_names_are_divided_into_the_number_of_fields(tmp_path: Path) -> None:
    path = put(tmp_path, "1::2\n1::2::3\n4::5::6\n")
    assert detect_fields(path, TextOptions(), 3, (WHITESPACE, ",", "::")).delimiter == "::"
    assert detect_fields(put(tmp_path, "1\n"), TextOptions(), 3, (WHITESPACE, ",")).delimiter == WHITESPACE


@pytest.mark.parametrize(
    "options",
    [("a",), ("",), ("\n",), ('"',), (",,,,,,,,,,",), (",", "ab"), (",", " "), (",", ","), (",", "none", "no-such")],
)
def test_invalid_options_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        TextOptions.of(*options)


def test_options_have_names() -> None:
    assert TextOptions.of("tab").delimiter == TextOptions.of(r"\t").delimiter == "\t"
    assert TextOptions.of("semicolon", "none", "latin-1") == TextOptions(";", "none", "iso8859-1")
    assert TextOptions.of(WHITESPACE).delimiter == WHITESPACE


@pytest.mark.parametrize(
    ("text", "fields", "fault"),
    [
        ("a,b", ["a", "b"], ""),
        (',"",', ["", "", ""], ""),
        ('"a,""b""",c', ['a,"b"', "c"], ""),
        ('"a\nb",c\nd', ["a\nb", "c"], ""),
        ('5" nail,b"', ['5" nail', 'b"'], ""),
        ('"a"b,c', ["a"], "malformed"),
        ('a,"b""', ["a"], "unclosed"),
        ('a,"b', ["a"], "unclosed"),
    ],
)
def test_records_are_split_as_rfc_4180_says(text: str, fields: list[str], fault: str) -> None:
    record = TextFormat(",", '"').split(text)
    assert (record.fields, record.fault) == (fields, fault)


def test_records_without_quotes() -> None:
    assert TextFormat("\t").split('"a\tb"').fields == ['"a', 'b"']
    assert TextFormat("::").split("a:b::c:::d").fields == ["a:b", "c", ":d"]
    assert TextFormat(WHITESPACE).split(" a \tb\u2003c ").fields == ["a", "b", "c"]


def test_a_column_named_twice_or_not_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the column 'b' twice"):
        require_names(["a", "b", "b"], tmp_path)
    with pytest.raises(DataError, match=r"has no name for column 2; write one"):
        require_names(["a", "", "b"], tmp_path)
    require_names(["", "a", "b"], tmp_path)  # row names of pandas and R
