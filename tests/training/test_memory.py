"""Memory settings are optional: other systems are no error."""

from __future__ import annotations

import sys

import pytest

from hardneg.training import loop


@pytest.fixture(autouse=True)
def afresh() -> None:
    loop.keep_freed_memory.cache_clear()


def test_the_c_library_accepts_or_refuses() -> None:
    assert loop.keep_freed_memory() in (True, False)


def test_other_systems_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert loop.keep_freed_memory() is False


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object) -> object:
        return object()

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(loop.ctypes, "CDLL", nothing)
    assert loop.keep_freed_memory() is False
