"""Item texts, titles and tf-idf vectors."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from hardneg.text.texts import item_texts, tfidf, titles


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
