"""Ids as strings: which values are none, how numbers are spelled, and spellings that become one on request."""

from __future__ import annotations

from typing import Literal

import polars as pl

IdNormalisation = Literal["strip", "integer"]
"""strip: without white space around. integer: also, of whole numbers, without leading zeros and a trailing `.0`."""
MISSING = ("nan", "NaN", "<NA>", "NaT", "None", "NULL", "null")
"""Strings that programs write for a missing value; an id of this spelling is none."""
_WHOLE = r"^0*(0|[1-9][0-9]*)(?:\.0*)?$"


def spell_ids(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return an expression of ids as strings: whole numbers without a point, null for NaN and infinity."""
    ids = pl.col(column)
    if dtype.is_float() or dtype.is_decimal():
        number = ids.cast(pl.Float64)
        number = pl.when(number.is_finite()).then(number)
        whole = pl.when((number == number.floor()) & (number.abs() < 2.0**63)).then(number)
        return pl.coalesce(whole.cast(pl.Int64, strict=False).cast(pl.String), number.cast(pl.String)).alias(column)
    return ids.cast(pl.String)


def is_blank(*columns: str) -> pl.Expr:
    """Return an expression that is true where any column is null or blank, never null."""
    return pl.any_horizontal(pl.col(columns).cast(pl.String).fill_null("").str.strip_chars() == "")


def is_missing(*columns: str) -> pl.Expr:
    """Return an expression that is true where any column has a string in MISSING, never null."""
    return pl.any_horizontal(pl.col(columns).str.strip_chars().is_in(MISSING).fill_null(value=False))


def normalise(column: str, how: IdNormalisation) -> pl.Expr:
    """Return an expression of ids in one spelling."""
    ids = pl.col(column).str.strip_chars()
    return ids if how == "strip" else pl.coalesce(ids.str.extract(_WHOLE), ids).alias(column)
