"""Which items are one product: spellings of a title, brands, and what a user then has, against a slow loop."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.data import Interactions, Split
from hardneg.data import products as rule
from hardneg.data.products import Products, group_titles, normalise_title
from hardneg.data.truth import Truth
from hardneg.errors import DataError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Matrix", "Matrix, The"),
        ("The Matrix (1999)", "matrix 1999"),
        ("Chef's Knife – 8\u2033", "chef\u2019s knife 8\u2033"),
        ("ＦＵＬＬ　width", "full width"),
        ("Straße", "STRASSE"),
        ("a  \t tent", "Tent"),
        ("steel kettle!", '"Steel kettle."'),
    ],
)
def test_spellings_that_normalise_alike(one: str, other: str) -> None:
    assert normalise_title(one) == normalise_title(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C", "C++"),
        ("C#", "C"),
        ("Vitamin A", "Vitamin"),
        ("The The", "Them"),
        ("tent 2", "tent 3"),
        ("Set of 2", "2 Set"),
        ("Café", "Cafe"),
    ],
)
def test_titles_that_differ_stay_different(one: str, other: str) -> None:
    assert normalise_title(one) != normalise_title(other)


@given(st.text(st.characters() | st.sampled_from("aThen, .'\u2019")))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_title(normalise_title(text)) == normalise_title(text)


def test_groups_of_titles() -> None:
    titles = ["The Tent", "", "tent", "?!", "Pan", "?!", "  ", "!!", "\u3000"]
    assert group_titles(titles).tolist() == [0, -1, 0, 1, 2, 1, -1, 3, -1]


def own(items: pl.DataFrame, *owned: int) -> list[int]:
    """Return the items that a user has who chose these."""
    train = Interactions.of(np.zeros(len(owned), int), np.array(owned), n_users=1, n_items=len(items))
    return Products.of(items).add_other_ids(train).items.tolist()


def test_a_blank_brand_fits_every_brand_and_joins_none() -> None:
    titles = ["Dune", "dune", "DUNE", "Dune.", "", ""]
    items = pl.DataFrame({"title": titles, "brand": ["Ace", "ace", "Gollancz", " ", "Ace", "Ace"]})
    assert own(items, 0) == [0, 1, 3]
    assert own(items, 2) == [2, 3]
    assert own(items, 3) == [0, 1, 2, 3]
    assert own(items, 0, 2) == [0, 1, 2, 3]
    assert own(items, 4) == [4]
    assert own(items.drop("brand"), 0) == [0, 1, 2, 3]
    assert own(items.drop("title"), 0) == [0]


TITLES, BRANDS = st.sampled_from(["Pan", "pan", "Tent", "", "a tent", "!"]), st.sampled_from(["", "Ace", "ACE", "Bo"])


@given(st.lists(st.tuples(TITLES, BRANDS), min_size=1, max_size=9), st.data())
def test_products_equal_the_slow_loop(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    n = len(rows)
    pairs = data.draw(st.sets(st.tuples(st.integers(0, 3), st.integers(0, n - 1)), min_size=1))
    train = Interactions.of(*np.array(sorted(pairs)).T, n_users=4, n_items=n)

    def same(one: int, other: int) -> bool:
        (title, brand), (title_2, brand_2) = rows[one], rows[other]
        names = [normalise_title(t) or t for t in (title, title_2)]
        brands = {normalise_title(b) for b in (brand, brand_2)}
        return one == other or bool(title and names[0] == names[1] and ("" in brands or len(brands) == 1))

    expected = {(user, other) for user, item in pairs for other in range(n) if same(item, other)}
    items = pl.DataFrame(rows, schema=["title", "brand"], orient="row")
    owned = Products.of(items).add_other_ids(train)
    assert set(zip(owned.users.tolist(), owned.items.tolist(), strict=True)) == expected


def test_without_other_ids_the_pairs_are_those_of_train(store: tuple[Split, Truth]) -> None:
    split = store[0]
    unique = pl.DataFrame({"title": [f"title {n}" for n in range(split.train.n_items)]})
    assert Products.of(unique).add_other_ids(split.train) is split.train


def test_a_title_of_too_many_items_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "MAX_PAIRS", 8)
    items = pl.DataFrame({"title": ["n/a", "Pan", "N/A", "n/a"]})
    assert own(items, 0, 2) == [0, 2, 3]
    with pytest.raises(DataError, match=r"9 pairs .* at most 8.* 3 items \(first: item 0\)"):
        own(items, 0, 2, 3)
