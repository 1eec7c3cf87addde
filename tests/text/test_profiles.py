"""Extractive profiles contain only words, titles and reviews of train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg.data import Dataset, Interactions, Split, SplitConfig, Vocabulary, make_split, simulate
from hardneg.data import split as splits
from hardneg.errors import DataError
from hardneg.stage import Stage
from hardneg.text import profiles
from hardneg.text.profiles import N_TITLES, N_WORDS, extract_profiles

TITLES = ["red kettle", "red pan", "green tent", "green stove", ""]


def toy(reviews: list[tuple[int, int, str]] | None = None, titles: list[str] = TITLES) -> Split:
    """Three users: kitchen, camping, and one whose only item has no text."""
    train = Interactions.of(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 2, 3, 4]), n_users=3, n_items=5)
    empty = Interactions.of(np.array([], int), np.array([], int), n_users=3, n_items=5)
    ids = Vocabulary(["a", "b", "c"], ["1", "2", "3", "4", "5"])
    texts = pl.DataFrame({"item_id": ids.item_ids, "title": titles})
    review_table = pl.DataFrame(
        reviews or [], schema={"user": pl.Int64, "item": pl.Int64, "review": pl.String}, orient="row"
    )
    return Split(train, empty, empty, ids, texts, review_table)


def test_profiles_of_a_toy_split() -> None:
    extracted = extract_profiles(toy())
    assert extracted.source == "extractive"
    assert extracted.items == TITLES
    assert extracted.users == [
        "Likes: red, kettle, pan. Chose: red kettle; red pan.",
        "Likes: green, stove, tent. Chose: green tent; green stove.",
        "",
    ]


def test_the_most_similar_review_is_quoted() -> None:
    reviews = [(0, 0, "arrived on time"), (0, 1, "a red one, as red as a kettle"), (1, 2, "green is nice")]
    extracted = extract_profiles(toy(reviews))
    assert extracted.users[0].endswith("Says: a red one, as red as a kettle")
    assert extracted.users[1].endswith("Says: green is nice")
    assert extracted.users[2] == ""
    assert extracted.items == [
        "red kettle arrived on time",
        "red pan a red one, as red as a kettle",
        "green tent green is nice",
        "green stove",
        "",
    ]


@pytest.mark.parametrize("titles", [[""] * 5, ["the", "a", "of", "", "!"]])
def test_items_without_words_give_blank_user_profiles(titles: list[str]) -> None:
    extracted = extract_profiles(toy([(0, 0, "good kettle")], titles))
    assert extracted.items == titles
    assert extracted.users == ["", "", ""]


@pytest.fixture(scope="module")
def store_split() -> Split:
    dataset, _ = simulate.simulate_store(simulate.SimulationConfig(n_users=50, n_items=60, shown=40, like_rate=0.1))
    return make_split(dataset, SplitConfig(train=0.6, valid=0.2, test=0.2))


def test_a_user_profile_names_own_train_items_only(store_split: Split) -> None:
    extracted = extract_profiles(store_split)
    assert len(extracted.users) == store_split.train.n_users
    assert len(extracted.items) == store_split.train.n_items
    names = store_split.texts["title"].to_list()
    reviews = {(u, r) for u, _, r in store_split.reviews.rows()}
    for user, profile in enumerate(extracted.users):
        likes, rest = profile.removeprefix("Likes: ").split(". Chose: ", 1)
        examples, quote = rest.split(". Says: ", 1)
        assert 1 <= len(likes.split(", ")) <= N_WORDS
        own = store_split.train.items_of(user)
        chosen = examples.split("; ")
        assert len(chosen) == min(N_TITLES, len(own))
        assert set(chosen) <= {names[i] for i in own}
        assert (user, quote) in reviews


def test_an_item_profile_is_its_text_and_one_of_its_train_reviews(store_split: Split) -> None:
    from hardneg.text import item_texts

    extracted = extract_profiles(store_split)
    texts = item_texts(store_split.texts)
    reviews_of: dict[int, set[str]] = {item: set() for item in range(store_split.train.n_items)}
    for _, item, review in store_split.reviews.rows():
        reviews_of[item].add(review)
    for item, profile in enumerate(extracted.items):
        assert profile in {f"{texts[item]} {review}" for review in reviews_of[item]}


def test_held_out_pairs_change_no_profile(store_split: Split) -> None:
    moved = store_split
    for part in ("valid", "test"):
        moved = moved.with_part(part, np.array([0, 1]), np.array([3, 3]))
    assert extract_profiles(moved) == extract_profiles(store_split)
    fewer = replace(store_split, reviews=store_split.reviews.head(5))
    assert extract_profiles(fewer) != extract_profiles(store_split), "train reviews do change them"


def test_reviews_of_held_out_rows_reach_no_profile() -> None:
    """Every held-out review of the raw data is one word."""
    dataset, _ = simulate.simulate_store(simulate.SimulationConfig(n_users=30, n_items=60, shown=40, like_rate=0.1))
    parts = pl.Series("split", np.random.default_rng(0).choice(["train", "train", "test"], len(dataset.interactions)))
    marked_reviews = pl.when(parts != "train").then(pl.lit("LEAKED")).otherwise(pl.col("review"))
    frame = dataset.interactions.with_columns(parts, review=marked_reviews)
    split = make_split(Dataset(frame, dataset.items), SplitConfig(by="given", valid=0.2))
    assert len(split.test) > 20
    extracted = extract_profiles(split)
    assert "LEAKED" not in " ".join([*extracted.items, *extracted.users])


def test_profiles_are_read_back(store_split: Split, tmp_path: Path) -> None:
    extracted = extract_profiles(store_split)
    Stage(profiles.KIND, {}, {}, lambda draft: profiles.write_profiles(draft, extracted, store_split)).run(
        tmp_path / "p"
    )
    assert profiles.read_profiles(tmp_path / "p") == extracted
    users = pl.read_parquet(tmp_path / "p" / "users.parquet")
    assert users.columns == ["user_id", "profile", "reasoning", "source"]
    assert users["user_id"].to_list() == store_split.vocabulary.user_ids
    assert set(users["source"]) == {"extractive"}


def test_a_split_folder_is_no_profiles_folder(store_split: Split, tmp_path: Path) -> None:
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, store_split)).run(tmp_path / "s")
    with pytest.raises(DataError, match=r"split.*profiles"):
        profiles.read_profiles(tmp_path / "s")
