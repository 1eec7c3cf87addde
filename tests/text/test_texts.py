"""Item texts, titles and tf-idf vectors; shuffled titles; the correlation of texts and preferences."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_series_equal

from hardneg.data import Interactions, Split
from hardneg.data import columns as c
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.text import extract_profiles, text_preference_correlation
from hardneg.text.texts import item_texts, require_item_texts, shuffle_item_texts, tfidf, titles


def test_a_text_joins_the_present_columns_in_order() -> None:
    items = pl.DataFrame(
        {
            "item_id": ["1", "2", "3"],
            "description": ["Boils water.", "", "  "],
            "colour": ["red", "red", "red"],
            "title": ["Kettle", "Pan", ""],
            "brand": ["Alder", "", ""],
        }
    )
    assert item_texts(items) == ["Kettle. Alder. Boils water.", "Pan", ""]


def test_without_text_columns_every_text_is_blank() -> None:
    assert item_texts(pl.DataFrame({"item_id": ["1", "2"]})) == ["", ""]


def test_without_any_text_the_reason_is_said() -> None:
    with pytest.raises(DataError, match="no item has a text, expected an item table"):
        require_item_texts(pl.DataFrame({"item_id": ["1"]}))
    unmatched = pl.DataFrame({"item_id": ["1", "2"], "title": ["", " "]})
    with pytest.raises(
        DataError, match="an item table was given, but 0 of 2 items have a text, expected ids as in the"
    ):
        require_item_texts(unmatched)
    assert require_item_texts(unmatched.with_columns(brand=pl.lit("Alder"))) == ["Alder", "Alder"]


def test_titles_fall_back_to_ids() -> None:
    assert titles(pl.DataFrame({"item_id": ["1", "2", "3"], "title": ["Kettle", "", "  "]})) == ["Kettle", "2", "3"]
    assert titles(pl.DataFrame({"item_id": ["1", "2"]})) == ["1", "2"]


def test_tfidf_rows_have_unit_length_and_blank_ones_are_zero() -> None:
    texts = ["red kettle kettle", "the red pan", "", "tent tent outdoors"]
    rows, others, words = tfidf(texts, ["kettle", "unknown", "red tent"])
    assert rows.shape == (4, len(words))
    assert others.shape == (3, len(words))
    assert words == ["kettle", "outdoors", "pan", "red", "tent"]
    np.testing.assert_allclose(np.linalg.norm(rows.toarray(), axis=1), [1, 1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(others.toarray(), axis=1), [1, 0, 1], rtol=1e-6)


def test_tfidf_equals_a_slow_loop() -> None:
    texts = ["red kettle kettle", "red pan", "tent"]
    rows, _, words = tfidf(texts)
    for row, text in enumerate(texts):
        slow = []
        for word in words:
            count, holders = text.split().count(word), sum(word in t.split() for t in texts)
            idf = np.log((1 + len(texts)) / (1 + holders)) + 1
            slow.append((1 + np.log(count)) * idf if count else 0.0)
        np.testing.assert_allclose(rows.toarray()[row], slow / np.linalg.norm(slow), rtol=1e-5)


@pytest.mark.parametrize("texts", [["", ""], ["the", "a of"], ["!", "A"]])
def test_texts_without_any_word_make_rows_without_columns(texts: list[str]) -> None:
    rows, others, words = tfidf(texts, ["kettle"])
    assert rows.shape == (2, 0)
    assert others.shape == (1, 0)
    assert words == []


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


N_USERS, N_ITEMS, GROUPS = 60, 80, 8


def split_with_groups(seed: int, follow: float = 1.0) -> tuple[Interactions, list[str]]:
    """Draw users that choose within two groups of items with probability `follow`; a text names its group."""
    rng = np.random.default_rng(seed)
    group = np.arange(N_ITEMS) % GROUPS
    chosen = []
    for user in range(N_USERS):
        favourites = rng.choice(GROUPS, 2, replace=False)
        mine = np.isin(group, favourites)
        p = np.where(mine, follow / mine.sum(), (1 - follow) / (~mine).sum())
        chosen += [(user, item) for item in rng.choice(N_ITEMS, 8, replace=False, p=p)]
    users, items = np.array(chosen).T
    texts = [f"group{g}word group{g}thing own{item}" for item, g in enumerate(group)]
    return Interactions.of(users, items, n_users=N_USERS, n_items=N_ITEMS), texts


def test_texts_that_determine_preferences_give_a_clearly_positive_value() -> None:
    pairs, texts = split_with_groups(0)
    found = text_preference_correlation(pairs, texts)
    assert isinstance(found, float)
    assert 0.6 < found <= 1


def test_shuffled_texts_give_nearly_zero() -> None:
    pairs, texts = split_with_groups(0)
    rng = np.random.default_rng(1)
    found = [text_preference_correlation(pairs, [texts[i] for i in rng.permutation(N_ITEMS)]) for _ in range(8)]
    assert abs(np.mean(found)) < 0.06
    assert max(map(abs, found)) < 0.25


def test_it_grows_with_the_influence_of_texts() -> None:
    half, whole = split_with_groups(2, follow=0.6), split_with_groups(2)
    assert 0.1 < text_preference_correlation(*half) < text_preference_correlation(*whole) - 0.1


def test_avoided_texts_give_a_negative_value() -> None:
    """Every user has one item of each group, so no two items of a user have similar texts."""
    rng = np.random.default_rng(3)
    items = (rng.integers(N_ITEMS // GROUPS, size=(N_USERS, GROUPS)) * GROUPS + np.arange(GROUPS)).ravel()
    pairs = Interactions.of(np.repeat(np.arange(N_USERS), GROUPS), items, n_users=N_USERS, n_items=N_ITEMS)
    assert text_preference_correlation(pairs, split_with_groups(0)[1]) < -0.5


def test_it_equals_a_slow_loop() -> None:
    pairs, texts = split_with_groups(4, follow=0.7)
    from hardneg.text.texts import tfidf

    vectors = tfidf(texts)[0].toarray().astype(float)
    rng = generator(0, "text-taste correlation")
    rows = rng.choice(np.arange(len(pairs)), size=len(pairs), replace=False)
    drawn = rng.integers(len(pairs), size=len(pairs))
    values, labels = [], []
    for row, other in zip(rows, pairs.items[drawn], strict=True):
        user, item = pairs.users[row], pairs.items[row]
        theirs = pairs.items_of(user)
        cases = [(item, [i for i in theirs if i != item], 1.0)]
        if other not in theirs:
            cases.append((other, list(theirs), 0.0))
        for candidate, known, label in cases:
            profile = vectors[known].sum(axis=0)
            values.append(profile @ vectors[candidate] / np.linalg.norm(profile) / np.linalg.norm(vectors[candidate]))
            labels.append(label)
    assert len(set(labels)) == 2
    assert text_preference_correlation(pairs, texts) == pytest.approx(np.corrcoef(values, labels)[0, 1], abs=1e-4)


def test_the_seed_alone_decides_what_is_sampled() -> None:
    pairs, texts = split_with_groups(5, follow=0.7)
    one, same, other = (text_preference_correlation(pairs, texts, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other
    assert one == pytest.approx(other, abs=0.15)


@pytest.mark.parametrize(
    "texts", [["", "", ""], ["the", "a of", "!"], ["same words", "same words", "same words"]], ids=repr
)
def test_uninformative_texts_give_none(texts: list[str]) -> None:
    pairs = Interactions.of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2]), n_users=2, n_items=3)
    assert text_preference_correlation(pairs, texts) is None


@pytest.mark.filterwarnings("error")
def test_no_user_with_two_pairs_or_no_unobserved_pair_gives_none() -> None:
    single = Interactions.of(np.array([0, 1]), np.array([0, 1]), n_users=2, n_items=2)
    assert text_preference_correlation(single, ["red kettle", "blue tent"]) is None
    full = Interactions.of(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), n_users=2, n_items=2)
    assert text_preference_correlation(full, ["red kettle", "blue tent"]) is None
