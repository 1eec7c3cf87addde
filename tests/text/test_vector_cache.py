"""The cache of encoded texts: the same bits with and without it, damage, versions, its limit, and no cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardneg.text import SentenceEncoder, encoders, vector_cache
from hardneg.text.vector_cache import read_cached_vectors, vectors_key, write_cached_vectors


class Model:
    """Encodes a text beside the others of its call: every vector depends on the number of texts, as bits of a real one do."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: list[str], **_options: Any) -> np.ndarray:
        self.calls.append(list(texts))
        rows = np.array([[len(text), sum(map(text.count, "aeiou")), len(texts)] for text in texts], np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(vector_cache.VARIABLE, str(tmp_path / "vectors"))
    return tmp_path / "vectors"


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


def open_with_model(model_folder: Path, **options: Any) -> tuple[SentenceEncoder, Model]:
    encoder, model = SentenceEncoder("fake", str(model_folder), **options), Model()
    encoder.__dict__["_model"] = model
    return encoder, model


def test_another_process_reads_what_one_encoded_bit_by_bit(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"item {'a' * (k % 7)} {k}" for k in range(2 * encoders.CHUNK + 3)]
    first, model = open_with_model(model_folder)
    expected = first.encode([*texts, "", texts[0]])
    assert [len(call) for call in model.calls] == [512, 512, 3]
    again = SentenceEncoder("fake", str(model_folder))
    again.__dict__["_model"] = None  # any call of the model fails
    np.testing.assert_array_equal(again.encode([*texts, "", texts[0]]), expected)
    monkeypatch.setenv(vector_cache.VARIABLE, "")
    uncached, model = open_with_model(model_folder)
    np.testing.assert_array_equal(uncached.encode([*texts, "", texts[0]]), expected)
    assert len(model.calls) == 3


def test_a_longer_list_shares_its_first_chunks(model_folder: Path) -> None:
    texts = [f"text {k}" for k in range(encoders.CHUNK + 5)]
    open_with_model(model_folder)[0].encode(texts)
    encoder, model = open_with_model(model_folder)
    encoder.encode([*texts, "one more"])
    assert model.calls == [[*texts[encoders.CHUNK :], "one more"]]


def test_other_texts_order_files_device_batches_threads_and_versions_are_encoded_again(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(texts: list[str], **options: Any) -> int:
        encoder, model = open_with_model(model_folder, **options)
        encoder.encode(texts)
        return len(model.calls)

    texts = ["kettle", "tent"]
    assert [calls(texts), calls(texts)] == [1, 0]
    assert calls(["tent", "kettle"]) == calls(["kettle"]) == 1
    assert calls(texts, batch_size=8) == 1
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    assert [calls(texts), calls(texts)] == [1, 0]
    monkeypatch.setattr(vector_cache, "version", lambda name: f"{name} 99")
    assert [calls(texts), calls(texts)] == [1, 0]
    (model_folder / "config.json").write_text("{ }")
    assert [calls(texts), calls(texts)] == [1, 0]


def test_an_encoder_without_a_version_is_not_cached(folder: Path) -> None:
    encoder = SentenceEncoder("fake", "nowhere")
    encoder.__dict__["_model"] = model = Model()
    model.__class__ = type("Unversioned", (Model,), {"__getitem__": lambda *_: None})
    encoder.encode(["kettle"])
    encoder.encode(["kettle"])
    assert len(model.calls) == 2
    assert not folder.exists()


def test_an_encoder_whose_vectors_a_store_keeps_has_no_cache(folder: Path, model_folder: Path) -> None:
    encoder, model = open_with_model(model_folder, cached=False)
    encoder.encode(["kettle"])
    encoder.encode(["kettle"])
    assert len(model.calls) == 2
    assert not folder.exists()


def test_damaged_files_are_encoded_again_and_replaced(folder: Path, model_folder: Path) -> None:
    expected = open_with_model(model_folder)[0].encode(["kettle", "tent"])
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for damage in (b"", whole[:-9], whole[:150] + bytes([whole[150] ^ 1]) + whole[151:], b"no archive"):
        path.write_bytes(damage)
        encoder, model = open_with_model(model_folder)
        np.testing.assert_array_equal(encoder.encode(["kettle", "tent"]), expected)
        assert len(model.calls) == 1, damage[:20]
        assert path.read_bytes() == whole


def test_vectors_of_another_shape_or_kind_are_not_read() -> None:
    key = vectors_key(["model"], ["a", "b"])
    for vectors in (np.zeros((3, 2), np.float32), np.zeros(2, np.float32), np.zeros((2, 2))):
        write_cached_vectors(key, vectors)
        assert read_cached_vectors(key, 2) is None
    write_cached_vectors(key, np.ones((2, 2), np.float32))
    assert read_cached_vectors(key, 2) is not None
    assert vectors_key(["model"], ["ab"]) != vectors_key(["model"], ["a", "b"]) != vectors_key(["model", "a"], ["b"])


def test_files_that_were_not_read_for_the_longest_time_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.zeros((4, 8), np.float32)
    for age, key in ((30, "a"), (20, "b"), (10, "c")):
        write_cached_vectors(key, vectors)
        past = os.stat(folder / f"{key}.npz").st_mtime - age
        os.utime(folder / f"{key}.npz", (past, past))
    assert read_cached_vectors("a", 4) is not None, "the reading makes it the youngest"
    monkeypatch.setattr(vector_cache, "LIMIT", 3 * (folder / "a.npz").stat().st_size)
    write_cached_vectors("d", vectors)
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c", "d"]


def test_a_folder_that_cannot_be_written_changes_nothing(folder: Path, model_folder: Path) -> None:
    folder.write_text("a file")
    encoder, model = open_with_model(model_folder)
    assert (encoder.encode(["kettle", "tent"]) == encoder.encode(["kettle", "tent"])).all()
    assert len(model.calls) == 2
    assert folder.read_text() == "a file"


def test_the_default_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vector_cache.VARIABLE)
    monkeypatch.setenv("HARDNEG_CACHE", str(tmp_path))
    assert vector_cache.vector_folder() == tmp_path / "vectors"
