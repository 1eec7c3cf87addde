"""Small language models that tests make, and a real server over one of them."""

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
def served(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an endpoint: `transformers serve` over the tiny Llama."""
    if not installed():
        pytest.skip("transformers[serving] is not installed")
    with serving(tiny_llama, tmp_path_factory.mktemp("hub")) as name:
        yield name
