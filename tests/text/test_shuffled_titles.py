"""Shuffled titles keep every word but no longer describe their item."""

from __future__ import annotations

import numpy as np
from polars.testing import assert_series_equal

from hardneg.data import Split
from hardneg.data import columns as c
from hardneg.data.truth import Truth
from hardneg.text import extract_profiles, item_texts
from hardneg.text.texts import shuffle_item_texts


def test_texts_move_as_a_whole_and_pairs_stay(store: tuple[Split, Truth], rng: np.random.Generator) -> None:
    split, _ = store
    found = shuffle_item_texts(split, rng)
    assert_series_equal(found.texts[c.ITEM_ID], split.texts[c.ITEM_ID])
    before, after = item_texts(split.texts), item_texts(found.texts)
    assert sorted(before) == sorted(after)
    assert sum(one == other for one, other in zip(before, after, strict=True)) < len(before) / 5
    assert found.texts.columns == split.texts.columns
    assert sorted(found.reviews[c.REVIEW]) == sorted(split.reviews[c.REVIEW])
    assert_series_equal(found.reviews[c.USER], split.reviews[c.USER])
    assert found.train is split.train


def test_profiles_of_items_and_of_users_follow(store: tuple[Split, Truth]) -> None:
    split, _ = store
    one, same, other = (shuffle_item_texts(split, np.random.default_rng(seed)) for seed in (0, 0, 1))
    true, made = extract_profiles(split), extract_profiles(one)
    assert made == extract_profiles(same)
    assert made.items != extract_profiles(other).items
    differ = [a != b for a, b in zip(true.users, made.users, strict=True)]
    assert np.mean(differ) > 0.8
    assert all(profile.startswith(text) for profile, text in zip(made.items, item_texts(one.texts), strict=True))
