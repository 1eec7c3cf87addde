"""Generated texts as negatives: raw, grounded, constrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from hardneg.data import Interactions, Split, Vocabulary
from hardneg.errors import DataError
from hardneg.mining.generated import GeneratedConfig, ground_texts, select_texts, tabulate_generated
from hardneg.random import Stream
from hardneg.sampling import mined
from hardneg.sampling.sampler import SamplerInputs
from hardneg.sampling.semantic import Semantic
from hardneg.stage import Stage
from hardneg.text.generation import negative_generation
from hardneg.text.grounding import GroundingConfig, TitleIndex
from hardneg.types import Batch, Embeddings

TITLES = ["red kettle", "red pan", "green tent", "green stove", "blue mat"]
WORDS = ("red", "kettle", "pan", "green", "tent", "stove", "blue", "mat", "far", "near")


class Words:
    """Encodes counts of words, at unit length, and records the texts."""

    name = identity = "words"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], progress: object = None) -> np.ndarray:
        self.encoded += texts
        rows = np.array([[text.lower().split().count(word) for word in WORDS] for text in texts], np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(lengths > 0, rows / np.maximum(lengths, 1e-9), np.nan)


@pytest.fixture
def split() -> Split:
    """User 0 has items 0, 1 and 2, user 1 items 2 and 3, user 2 item 4."""
    train = Interactions.of(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 2, 3, 4]), n_users=3, n_items=5)
    empty = Interactions.of(np.array([], int), np.array([], int), n_users=3, n_items=5)
    ids = Vocabulary(["a", "b", "c"], ["1", "2", "3", "4", "5"])
    texts = pl.DataFrame({"item_id": ids.item_ids, "title": TITLES})
    return Split(
        train, empty, empty, ids, texts, pl.DataFrame(schema={"user": pl.Int64, "item": pl.Int64, "review": pl.String})
    )


def texts_of(*draws: Sequence[str | None]) -> pl.DataFrame:
    """Texts of pairs, one sequence per draw, None where there is none."""
    rows = [
        (row, draw, text or "", "because", "" if text else "the model found none")
        for row, message in enumerate(zip(*draws, strict=True))
        for draw, text in enumerate(message)
    ]
    return pl.DataFrame(rows, schema=negative_generation.SCHEMA, orient="row")


ONE = texts_of(["green stove", "Red Pan", "far far", "blue mat", None, "green stove"])
"""By pair: usable, an item of user 0, out of the catalogue, usable, none, usable."""
LIMITS = GroundingConfig(nearest=0.9, history=1)


def test_each_distinct_text_is_encoded_once(split: Split) -> None:
    encoder = Words()
    grounded = ground_texts(ONE, TitleIndex.of(TITLES), split, encoder, LIMITS)
    assert encoder.encoded == [*TITLES, "green stove", "Red Pan", "far far", "blue mat"]
    assert grounded.vectors.dtype == np.float16
    assert grounded.vectors.shape == (4, len(WORDS))
    assert grounded.which.tolist() == [0, 1, 2, 3, 0]
    assert grounded.items.tolist() == [3, 1, -1, 4, 3]


def test_raw_uses_every_text(split: Split, tmp_path: Path) -> None:
    encoder = Words()
    grounded = ground_texts(ONE, TitleIndex.of(TITLES), split, encoder, LIMITS)
    generated = tabulate_generated(ONE, grounded, split, GeneratedConfig(), "rules, raw, words")
    assert generated.mined.items.tolist() == [[3], [1], [-1], [4], [-1], [3]]
    assert generated.mined.present.tolist() == [True, True, True, True, False, True]
    expected = encoder.encode(["green stove", "Red Pan", "far far", "blue mat", "", "green stove"])
    np.testing.assert_allclose(generated.mined.vectors, expected, atol=1e-3)
    assert generated.rejected["reason"].to_list() == ["the model found none"]
    assert generated.rejected.select("user_id", "positive_item_id", "negative_text").rows() == [("b", "4", "")]
    assert generated.grounding["flag"].to_list() == ["", "already chosen", "out of catalogue", "", ""]
    assert generated.grounding["how"].to_list() == ["exact", "normalised", "none", "exact", "exact"]

    folder = tmp_path / "negatives"
    Stage(
        mined.KIND,
        {},
        {},
        lambda draft: mined.write_negatives(draft, generated.mined, generated.table, generated.rejected),
    ).run(folder)
    read = mined.read_negatives(folder, split.vocabulary, len(split.train))
    assert read.items.tolist() == generated.mined.items.tolist()
    assert read.source == "rules, raw, words"
    np.testing.assert_array_equal(read.vectors, generated.mined.vectors)
    table = pl.read_parquet(folder / "negatives.parquet")
    assert table["negative_text"].to_list() == ["green stove", "Red Pan", "far far", "blue mat", "green stove"]
    assert table["item_id"].to_list() == ["4", "2", None, "5", "4"]
    assert table["reasoning"].to_list() == ["because"] * 5


def test_grounded_uses_the_named_item_and_leaves_out_flagged_texts(split: Split) -> None:
    encoder = Words()
    grounded = ground_texts(ONE, TitleIndex.of(TITLES), split, encoder, LIMITS)
    with pytest.raises(DataError, match=r"no item vectors .*'grounded'"):
        tabulate_generated(ONE, grounded, split, GeneratedConfig(naming="grounded"), "x")
    item_vectors = encoder.encode([f"{title} near" for title in TITLES])
    generated = tabulate_generated(ONE, grounded, split, GeneratedConfig(naming="grounded"), "x", item_vectors)
    assert generated.mined.items.tolist() == [[3], [-1], [-1], [4], [-1], [3]]
    np.testing.assert_allclose(generated.mined.vectors[[0, 3, 5]], item_vectors[[3, 4, 3]], atol=1e-3)
    assert generated.mined.present.tolist() == [True, False, False, True, False, True]
    assert generated.rejected.select("negative_text", "item_id", "reason").rows() == [
        ("Red Pan", "2", "the user has it"),
        ("far far", None, "out of the catalogue"),
        ("", None, "the model found none"),
    ]


def test_flags_that_are_left_out_can_be_configured(split: Split) -> None:
    grounded = ground_texts(ONE, TitleIndex.of(TITLES), split, Words(), LIMITS)
    selected = select_texts(grounded, GeneratedConfig(naming="constrained", leave_out=()))
    assert selected.tolist() == [True, True, False, True, True]
    assert (
        select_texts(grounded, GeneratedConfig(naming="grounded", leave_out=("suspect",))).tolist() == selected.tolist()
    )


def test_several_negatives_are_pooled(split: Split) -> None:
    """Eq. 5: the mean of the existing texts."""
    texts = texts_of(
        ["green stove", None, "far", "red pan", None, "red pan"],
        ["blue mat", "blue mat", None, "blue mat", None, "far"],
    )
    encoder = Words()
    grounded = ground_texts(texts, TitleIndex.of(TITLES), split, encoder, LIMITS)
    generated = tabulate_generated(texts, grounded, split, GeneratedConfig(), "x")
    stove, mat, far, pan = encoder.encode(["green stove", "blue mat", "far", "red pan"])
    expected = np.stack([(stove + mat) / 2, mat, far, (pan + mat) / 2, np.full(len(WORDS), np.nan), (pan + far) / 2])
    np.testing.assert_allclose(generated.mined.vectors, expected, atol=1e-3)
    assert generated.mined.items.tolist() == [[3, 4], [-1, 4], [-1, -1], [1, 4], [-1, -1], [1, -1]]
    again = tabulate_generated(texts, grounded, split, GeneratedConfig(naming="grounded"), "x", encoder.encode(TITLES))
    assert again.mined.items.tolist() == [[3, 4], [-1, 4], [-1, -1], [1, 4], [-1, -1], [1, -1]]
    np.testing.assert_allclose(again.mined.vectors[5], pan, atol=1e-3)


def test_without_any_text_the_error_names_the_reason(split: Split) -> None:
    with pytest.raises(DataError, match=r"6 negatives \(6 times: the model found none\)"):
        ground_texts(texts_of([None] * 6), TitleIndex.of(TITLES), split, Words(), LIMITS)


def test_the_sampler_counts_pairs_without_a_vector(split: Split) -> None:
    grounded = ground_texts(ONE, TitleIndex.of(TITLES), split, Words(), LIMITS)
    generated = tabulate_generated(ONE, grounded, split, GeneratedConfig(), "x")
    sampler = Semantic(alpha=0.5, hidden_size=4).build(SamplerInputs(4, generated.mined, 0))
    tables = Embeddings((torch.randn(3, 4),), (torch.randn(5, 4),), "mean")
    batch = Batch(
        torch.arange(6), torch.from_numpy(split.train.users), torch.from_numpy(split.train.items), epoch=1, step=0
    )
    candidates = torch.tensor([[3], [3], [4], [0], [0], [1]])
    negatives = sampler.sample(batch, tables, candidates, Stream(0, "x", 1))
    assert negatives.counters == {"pairs": 6, "pairs without a vector": 1.0}
    torch.testing.assert_close(negatives.vectors[4, 0], tables.items[0][0])


def test_without_a_text_of_the_catalogue_no_pair_has_a_vector(split: Split) -> None:
    far = texts_of(["far"] * 6)
    grounded = ground_texts(far, TitleIndex.of(TITLES), split, Words(), LIMITS)
    generated = tabulate_generated(
        far, grounded, split, GeneratedConfig(naming="grounded"), "x", Words().encode(TITLES)
    )
    assert not generated.grounding["used"].any()
    assert not generated.mined.present.any()
