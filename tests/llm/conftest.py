"""Helpers of the tests of language models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # faulty_server, clients and virtual are no tests

from faulty_server import Behaviour, FaultyServer

Serve = Callable[..., FaultyServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a faulty server of this behaviour; it ends with the test."""
    with ExitStack() as stack:
        yield lambda **behaviour: stack.enter_context(FaultyServer(tmp_path / "server.log", _with(behaviour)))


def _with(behaviour: dict[str, Any]) -> Behaviour:
    return Behaviour(**behaviour)
