"""Tiny language models for tests, and a real server for one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.llm.tiny import make_tiny
from tests.llm.transformers_server import installed, serving


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama."""
    return make_tiny(tmp_path_factory.mktemp("llama") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Qwen2."""
    return make_tiny(tmp_path_factory.mktemp("qwen") / "tiny-qwen2", "qwen2")


@pytest.fixture(scope="session")
def endpoint_name(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of an endpoint: `transformers serve` with the tiny Llama."""
    if not installed():
        pytest.skip("transformers[serving] is not installed")
    with serving(tiny_llama, tmp_path_factory.mktemp("hub")) as name:
        yield name
