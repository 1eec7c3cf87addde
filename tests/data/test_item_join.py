"""The number of items with a row in the item table, and the spelling that would give more of them one."""

from __future__ import annotations

import polars as pl
import pytest

from hardneg.data.item_join import ItemJoin, render_item_join


def join(known: list[str], *blocks: list[str]) -> str:
    found = ItemJoin(pl.Series(known))
    for block in blocks:
        found.add(pl.Series(block, dtype=pl.String))
    return render_item_join(found.notes())


def test_items_are_counted_once_over_all_blocks() -> None:
    found = ItemJoin(pl.Series(["1", "2", "3"]))
    assert found.add(pl.Series(["1", "9"])).to_list() == [True, False]
    assert found.add(pl.Series(["1", "2"])).to_list() == [True, True]
    assert found.notes() == {"items": 3, "with a row": 2}
    assert render_item_join(found.notes()) == "2 of 3 items of the interactions (66.7%) have a row in the item table"


@pytest.mark.parametrize(
    ("known", "other", "remedy"),
    [
        ("00100", "100", "say --normalise-ids integer"),
        ("100.0", "100", "say --normalise-ids integer"),
        ("100", " 100 ", "say --normalise-ids strip"),
        ("sku-1", "SKU-1", "write both in one case"),
        ("sku-1", "'sku-1'", "leave out the quotes"),
    ],
)
def test_the_spelling_that_would_match_is_said(known: str, other: str, remedy: str) -> None:
    assert join([known, "x"], [], ["y", other]) == (
        "0 of 2 items of the interactions (0.0%) have a row in the item table; "
        f"it has {other!r}, the interactions {known!r}; {remedy}, so that 1 more match"
    )


def test_a_part_in_another_spelling_is_said_though_most_match() -> None:
    both = [f"{number}" for number in range(10, 30)]
    assert join([*both, "7"], [*both, "07", "x"]).endswith("say --normalise-ids integer, so that 1 more match")
    assert "; " not in join([*both, "7"], [*both, "8"])


def test_ids_that_match_in_no_spelling_are_shown() -> None:
    assert join(["b", "a"], ["x"]).endswith("it has 'x', the interactions 'a'; are these ids of the same items?")
    assert join(["a"]).endswith("(0.0%) have a row in the item table")
