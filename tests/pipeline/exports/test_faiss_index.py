"""The FAISS index: compared with exact search, and refused where it differs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardneg import artifacts, pipeline
from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.exports import export_stage


class ExactIndex:
    """The interface of `faiss.IndexFlatIP`, by numpy. error: added to every score."""

    error = 0.0

    def __init__(self, size: int) -> None:
        self.rows = np.empty((0, size), np.float32)

    def add(self, rows: Any) -> None:
        self.rows = rows

    def search(self, queries: Any, k: int) -> tuple[Any, Any]:
        products = queries @ self.rows.T
        best = (-products).argsort(axis=1)[:, :k]
        return np.take_along_axis(products, best, axis=1) + self.error, best


def module_of(index: type[ExactIndex]) -> Any:
    saved = dict[str, ExactIndex]()

    def write_index(made: ExactIndex, path: str) -> None:
        saved[path] = made
        Path(path).write_bytes(b"index")

    return SimpleNamespace(IndexFlatIP=index, write_index=write_index, read_index=saved.__getitem__)


def test_an_index_that_agrees_is_kept(store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", module_of(ExactIndex))
    out = export_stage(store_root / "run", "faiss").run(tmp_path / "out")
    files = {"items.faiss", "items.npy", "items.parquet", "manifest.json", "users.npy", "users.parquet"}
    assert {path.name for path in out.iterdir()} == files
    notes = artifacts.read_manifest(out, "export")["notes"]
    assert notes["users compared with exact search"] == len(pl.read_parquet(out / "users.parquet"))


def test_an_index_that_differs_is_refused(store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inexact = type("Inexact", (ExactIndex,), {"error": 0.1})
    monkeypatch.setitem(sys.modules, "faiss", module_of(inexact))
    with pytest.raises(DataError, match="finds other items than exact search"):
        export_stage(store_root / "run", "faiss").run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_faiss_one_line_says_what_to_install(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'hardneg\[faiss\]'"):
        export_stage(store_root / "run", "faiss")


def test_faiss_finds_what_the_run_recommends(store_root: Path, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss", reason="the extra faiss is not installed")
    out = export_stage(store_root / "run", "faiss").run(tmp_path / "out")
    run = pipeline.read_run(store_root / "run")
    scores, rows = faiss.read_index(str(out / "items.faiss")).search(run.embeddings.final_users.numpy(), 5)
    exact = np.sort(run.score()(np.arange(len(rows))).numpy(), axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-6)
