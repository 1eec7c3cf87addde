"""Models by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardneg.errors import ConfigError
from hardneg.llm.local.model import LocalModel
from hardneg.llm.names import open_model
from hardneg.llm.protocol import Message, Request
from hardneg.llm.remote.client import OPENAI
from hardneg.llm.remote.endpoint import Endpoint

REQUEST = Request((Message("user", "hello there"),), max_tokens=5)


def test_openai_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable OPENAI_API_KEY"):
        open_model("openai:gpt-4o-mini")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    model = open_model("openai:gpt-4o-mini")
    assert (model.name, model.identity) == ("gpt-4o-mini", f"{OPENAI}#gpt-4o-mini")
    assert open_model(f"{OPENAI}/#gpt-4o-mini").identity == model.identity


def test_address_with_a_model() -> None:
    model = open_model("http://localhost:8000/v1#Qwen/Qwen2.5-7B-Instruct", concurrency=3)
    assert isinstance(model, Endpoint)
    assert model.identity == "http://localhost:8000/v1#Qwen/Qwen2.5-7B-Instruct"
    assert model.concurrency == 3


def test_key_variable_of_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable THEIR_KEY"):
        open_model("https://their.host/v1#m", key_variable="THEIR_KEY")


def test_folder_is_identified_by_its_content(tiny_llama: Path) -> None:
    model = open_model(str(tiny_llama), batch_size=3)
    assert isinstance(model, LocalModel)
    assert model.name == "tiny-llama"
    assert str(tiny_llama.parent) not in model.identity + repr(model)
    assert (model.batch_size, model.concurrency) == (3, 1)


def test_hub_model_is_loaded_on_first_use() -> None:
    model = open_model("hf:Qwen/Qwen2.5-7B-Instruct")
    assert isinstance(model, LocalModel)
    assert model.name == "Qwen/Qwen2.5-7B-Instruct"
    with pytest.raises(ConfigError, match=r"model 'Qwen/Qwen2.5-7B-Instruct' cannot be loaded \(.*\); give a folder"):
        model.count_tokens(REQUEST)


@pytest.mark.parametrize("name", ["", "gpt-4o-mini", "hf:", "openai", "/nowhere/at/all", "localhost:8000/v1#m"])
def test_error_for_other_names_lists_the_forms(name: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of a language model: openai:gpt-4o-mini, http://"):
        open_model(name)


@pytest.mark.parametrize("name", ["openai:", "http://localhost:8000/v1", "http://localhost:8000/v1#"])
def test_address_without_model_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    with pytest.raises(ConfigError, match="found no model name for"):
        open_model(name)


def test_endpoint_with_tokenizer_counts_exactly(tiny_llama: Path) -> None:
    local = open_model(str(tiny_llama))
    with_tokenizer = open_model("http://localhost:1/v1#model", tokenizer=str(tiny_llama))
    with_folder = open_model(f"http://localhost:1/v1#{tiny_llama}")
    assert local.count_tokens(REQUEST) == with_tokenizer.count_tokens(REQUEST) == with_folder.count_tokens(REQUEST) > 10
    assert with_tokenizer.chat_markers == with_folder.chat_markers == local.chat_markers
    assert open_model("http://localhost:1/v1#model").count_tokens(REQUEST) == 3 + 4
