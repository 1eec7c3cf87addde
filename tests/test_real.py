"""Real input, on slices of the datasets beside the project (marker `real`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg.data import Dataset, FilterConfig, SplitConfig, filters, make_split
from hardneg.data.readers import open_recbole, read_lightgcn, read_pairs, read_table
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import fit_backbone
from hardneg.models import LightGCNModel
from hardneg.text import extract_profiles, item_texts, text_preference_correlation
from hardneg.training import FitConfig

from .data.streamed import read_all

pytestmark = pytest.mark.real


def test_sports_has_the_published_counts_and_its_given_split(real: Path) -> None:
    files = {part: real / f"dtlns/Sports/{part}.txt.gz" for part in ("train", "valid", "test")}
    split = make_split(read_pairs(files, item_offset=15138), SplitConfig(by="given"))
    assert (split.train.n_users, split.train.n_items) == (15138, 8439)
    assert (len(split.train), len(split.valid), len(split.test)) == (171621, 19370, 19448)
    assert np.count_nonzero(split.test.counts) == 10507
    assert not split.row_report


def test_a_slice_of_sports_is_learnt(real: Path) -> None:
    """Users 0 to 1,999: a few epochs rank far better than the start."""
    files = {part: real / f"dtlns/Sports/{part}.txt.gz" for part in ("train", "valid", "test")}
    data = read_pairs(files, item_offset=15138)
    data = Dataset(data.interactions.filter(pl.col("user_id").cast(pl.Int64) < 2000), data.items)
    split = make_split(data, SplitConfig(by="given"))
    values = {}
    for epochs in (1, 30):
        model = LightGCNModel(split.train, embedding_size=32, hops=2)
        fitted = fit_backbone(model, split, config=FitConfig(epochs=epochs, check_every=epochs, learning_rate=0.01))
        values[epochs] = evaluate_scores(
            inner_product(fitted.embeddings), split.test, split.train, metrics=("recall@20",)
        ).means()["recall@20"]
    assert values[30] > 1.2 * values[1]
    assert values[30] > 0.05


def test_scientific_has_rich_texts_that_tell_of_taste(real: Path) -> None:
    folder = real / "amazon_scientific"
    data = read_table(folder / "interactions.parquet", folder / "items.parquet", columns={"timestamp": "position"})
    split = make_split(data, SplitConfig(by="leave-one-out"))
    assert (split.train.n_users, split.train.n_items) == (8317, 4327)
    assert len(split.train) == 58492 - 2 * 8317
    assert split.row_report[0].count == 114
    texts = item_texts(split.texts)
    assert sum(text == "" for text in texts) == 0
    assert 0.2 < text_preference_correlation(split.train, texts) < 0.5
    profiles = extract_profiles(split)
    assert len(profiles.users) == 8317
    assert profiles.users[0].startswith("Likes: ")


def test_every_converted_set_is_read(real: Path) -> None:
    sets = {
        "yelp_s3rec": ({"timestamp": "position"}, {"title": "name"}, 304_524),
        "amazon_toys_2014": ({"timestamp": "position"}, {"title": "short_text"}, 167_597),
        "amazon_cds_2018": ({}, {"categories": "category"}, 67_789),
        "yelp2018_lightgcn/text10core": ({}, {"title": "name"}, 965_275),
    }
    for name, (columns, item_columns, pairs) in sets.items():
        data = read_table(
            real / name / "interactions.parquet",
            real / name / "items.parquet",
            columns=columns,
            item_columns=item_columns,
        )
        kept, _ = filters.filter_interactions(data.interactions, FilterConfig())
        assert len(kept) == pairs, name
        assert (data.items["title"] != "").mean() > 0.99, name


def test_steam_reviews_are_read_with_their_texts(real: Path) -> None:
    folder = real / "steam_reviews"
    item_columns = {"item_id": "item_id", "title": "app_name", "categories": "tags"}
    data = read_table(folder / "reviews.parquet", folder / "games.parquet", item_columns=item_columns)
    assert len(data.interactions) == 59_305
    assert len(data.items) == 32_132
    assert [entry.reason for entry in data.row_report] == ["repeating an item"]
    split = make_split(data, SplitConfig(filters=FilterConfig(kcore=5)))
    assert split.reviews["review"].str.len_chars().min() > 0
    assert split.train.contains(*(split.reviews[name].to_numpy() for name in ("user", "item"))).all()


def test_movielens_lists_are_read(real: Path) -> None:
    data = read_lightgcn({part: real / f"ahns/ml/{part}.txt.gz" for part in ("train", "test")})
    assert data.interactions["split"].value_counts().sort("split").rows() == [("test", 200_204), ("train", 800_005)]
    split = make_split(data, SplitConfig(by="given"))
    assert len(split.valid) > 70_000
    assert len(split.train) + len(split.valid) == 800_005 or split.row_report


def test_movielens_atomic_files_are_read(real: Path) -> None:
    folder = real / "ml-100k"
    data = read_all(open_recbole({"train": folder / "ml-100k.inter.gz"}, folder / "ml-100k.item.gz"))
    assert data.row_report == ()
    assert data.interactions.select("user_id", "item_id").n_unique() == len(data.interactions) == 100_000
    assert data.interactions["rating"].unique().sort().to_list() == [1, 2, 3, 4, 5]
    assert data.interactions["timestamp"].is_between(874_000_000, 894_000_000).all()
    assert len(data.items) == 1682
    assert (data.items["title"] != "").all()
    split = make_split(data, SplitConfig(by="time", filters=FilterConfig(min_rating=4, kcore=5)))
    assert split.train.n_users > 500
