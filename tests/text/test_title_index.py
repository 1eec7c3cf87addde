"""Titles that are equal when normalised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.data import Interactions
from hardneg.text.grounding import TitleIndex, normalise_title


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Matrix", "Matrix, The"),
        ("The Matrix (1999)", "matrix 1999"),
        ("Chef's Knife – 8\u2033", "chef\u2019s knife 8\u2033"),
        ("ＦＵＬＬ　width", "full width"),
        ("Straße", "STRASSE"),
        ("a  \t tent", "Tent"),
    ],
)
def test_spellings_that_normalise_alike(one: str, other: str) -> None:
    assert normalise_title(one) == normalise_title(other) != ""


@pytest.mark.parametrize(
    ("one", "other"), [("C", "C++"), ("C#", "C"), ("Vitamin A", "Vitamin"), ("The The", "Them"), ("tent 2", "tent 3")]
)
def test_titles_that_differ_stay_different(one: str, other: str) -> None:
    assert normalise_title(one) != normalise_title(other)


@given(st.text(st.characters() | st.sampled_from("aThen, .'\u2019")))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_title(normalise_title(text)) == normalise_title(text)


def test_groups_of_a_catalogue() -> None:
    names = TitleIndex.of(["The Tent", "", "tent", "?!", "Pan", "?!", "the tent", "!!", "The Tent"])
    assert names.groups.tolist() == [0, -1, 0, 1, 2, 1, 0, 3, 0]
    assert names.first.tolist() == [0, 3, 4, 7]
    assert names.distinct == ["The Tent", "tent", "?!", "Pan", "the tent", "!!"]
    assert names.exact == {"The Tent": 0, "tent": 2, "?!": 3, "Pan": 4, "the tent": 6, "!!": 7}
    assert names.loose == {"tent": 0, "pan": 4}
    assert names.variants(np.array([2, 1])) == ("The Tent", "tent", "the tent")
    assert names.variants(np.array([5])) == ("?!",)


def test_owned_titles_of_users() -> None:
    names = TitleIndex.of(["Tent", "", "tent", "Pan"])
    train = Interactions.of(np.array([0, 0, 1]), np.array([2, 1, 3]), n_users=2, n_items=4)
    owned = names.owned(train)
    assert (owned.n_users, owned.n_items) == (2, 2)
    assert owned.contains(np.array([[0], [1]]), np.array([0, 1])).tolist() == [[True, False], [False, True]]


@given(st.lists(st.text(max_size=4) | st.sampled_from(["the a", "A", "a!", "!"]), max_size=8))
def test_groups_equal_the_slow_loop(texts: list[str]) -> None:
    names = TitleIndex.of(texts)
    for one, text in enumerate(texts):
        same = [
            other
            for other, read in enumerate(texts)
            if text and read and (normalise_title(text) or f"={text}") == (normalise_title(read) or f"={read}")
        ]
        if text:
            assert np.flatnonzero(names.groups == names.groups[one]).tolist() == same
            assert names.first[names.groups[one]] == same[0]
        else:
            assert names.groups[one] == -1
