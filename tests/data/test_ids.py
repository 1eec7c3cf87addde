"""Spellings of ids: numbers, missing values, and those that become one on request."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from hardneg.data.ids import is_blank, is_missing, normalise, spell_ids


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.0, 10.0, 2.5, float("nan"), float("inf"), None], pl.Float64, ["1", "10", "2.5", None, None, None]),
        ([1.0, 2.0**40], pl.Float32, ["1", str(2**40)]),
        ([Decimal("7.00"), Decimal("7.50")], pl.Decimal(10, 2), ["7", "7.5"]),
        ([7, None], pl.Int64, ["7", None]),
        ([2**63 + 1], pl.UInt64, [str(2**63 + 1)]),
        (["007", " 7 ", "7.0", "nan", None], pl.String, ["007", " 7 ", "7.0", "nan", None]),
        (["a", "b"], pl.Categorical, ["a", "b"]),
    ],
)
def test_ids_are_spelled_as_strings(values: list[object], dtype: pl.DataType, expected: list[str | None]) -> None:
    frame = pl.DataFrame({"id": pl.Series(values, dtype=dtype, strict=False)})
    assert frame.select(spell_ids("id", frame.schema["id"]))["id"].to_list() == expected


def test_blank_and_missing_ids_are_told_from_others() -> None:
    frame = pl.DataFrame({"id": ["a", "", " \t", None, "nan", "NaN", "<NA>", "None", "NULL", "null", "Nan", "nano"]})
    flags = frame.select(blank=is_blank("id"), missing=is_missing("id"))
    assert frame["id"].filter(flags["blank"]).to_list() == ["", " \t", None]
    assert frame["id"].filter(flags["missing"]).to_list() == ["nan", "NaN", "<NA>", "None", "NULL", "null"]


@pytest.mark.parametrize(
    ("text", "strip", "integer"),
    [
        ("007", "007", "7"),
        (" 7 ", "7", "7"),
        ("7.0", "7.0", "7"),
        ("0100.00", "0100.00", "100"),
        ("7.", "7.", "7"),
        ("000", "000", "0"),
        ("0", "0", "0"),
        ("7.5", "7.5", "7.5"),
        ("-07", "-07", "-07"),
        ("0x7", "0x7", "0x7"),
        (" SKU 7\n", "SKU 7", "SKU 7"),
        ("1e3", "1e3", "1e3"),
    ],
)
def test_spellings_become_one_on_request(text: str, strip: str, integer: str) -> None:
    frame = pl.DataFrame({"id": [text]})
    assert frame.select(normalise("id", "strip"))["id"].to_list() == [strip]
    assert frame.select(normalise("id", "integer"))["id"].to_list() == [integer]
