"""`hardneg demo`: recorded replies by default, a model with --llm, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from hardneg import demo
from hardneg.cli.main import app
from hardneg.llm.session import Session


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session | None]:
    """The sessions that the command passes on; the demo itself is not run."""
    passed: list[Session | None] = []

    def run_demo(out: Path, *, session: Session | None, **_: Any) -> demo.Demo:
        passed.append(session)
        frame = pl.DataFrame({"row": ["uniform"]})
        return demo.Demo(
            ["sampler"],
            [["uniform"]],
            [("Question?", "Answer.")],
            "small, 9 recorded replies of 2026-11-28",
            frame,
            out / "report.html",
        )

    monkeypatch.setattr("hardneg.demo.run_demo", run_demo)
    return passed


def call(*words: object) -> str:
    result = CliRunner().invoke(app, ["demo", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_without_a_model_recorded_replies_are_read_and_named(sessions: list[Session | None], tmp_path: Path) -> None:
    printed = call("--out", tmp_path)
    assert sessions == [None]
    assert "Negatives were named by small, 9 recorded replies of 2026-11-28" in printed
    assert json.loads(call("--out", tmp_path, "--json"))["language model"] == "small, 9 recorded replies of 2026-11-28"


def test_a_model_is_asked_with_a_store_in_the_folder_of_the_demo(
    sessions: list[Session | None], tmp_path: Path
) -> None:
    server = ("--llm", "http://localhost:1/v1#small", "--out", tmp_path)
    call(*server)
    call(*server, "--store", tmp_path / "elsewhere.sqlite")
    first, second = sessions
    assert first is not None
    assert second is not None
    assert first.model.name == "small"
    assert first.store.path == tmp_path / "replies.sqlite"
    assert second.store.path == tmp_path / "elsewhere.sqlite"
