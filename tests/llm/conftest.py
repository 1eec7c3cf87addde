"""Small language models that tests make, real and faulty servers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "engine"))  # faulty_server, clients and virtual are no tests

from faulty_server import Behaviour, FaultyServer, Serve
from tests.llm.served import installed, serving
from tests.llm.tiny import make_tiny


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a faulty server of this behaviour; it ends with the test."""
    with ExitStack() as stack:
        yield lambda **behaviour: stack.enter_context(FaultyServer(tmp_path / "server.log", _with(behaviour)))


def _with(behaviour: dict[str, Any]) -> Behaviour:
    return Behaviour(**behaviour)


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
