"""A small study and a small search on the small store."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardneg.studies import Study
from hardneg.studies.results import Results

STUDY: dict[str, Any] = {
    "name": "small",
    "splits": {"store": "SPLIT"},
    "models": {
        "MF": {"kind": "mf", "embedding_size": 8},
        "LightGCN": {"kind": "lightgcn", "embedding_size": 8, "hops": 2},
    },
    "rows": {
        "uniform": {"sampler": {"kind": "uniform"}},
        "DNS": {"sampler": {"kind": "dns", "candidates": 4}},
        "MixGCF": {"sampler": {"kind": "mixgcf", "candidates": 4}},
    },
    "fit": {"epochs": 2, "check_every": 1, "learning_rate": 0.01},
    "seeds": 4,
    "baseline": "uniform",
}
SEARCH: dict[str, Any] = {key: STUDY[key] for key in ("splits", "models", "rows", "fit")} | {
    "name": "small-search",
    "models": {"MF": STUDY["models"]["MF"]},
    "trials": 7,
    "space": {
        "fit.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
        "sampler.candidates": {"choices": [2, 8]},
    },
}
Write = Callable[..., Path]


def results_of(study: Study, workers: int = 0) -> Results:
    """The results of a study after it is run, in this process by default."""
    study.run(workers)
    return study.results()


def run_study(file: Path, out: Path, workers: int = 0) -> Results:
    """The results of a study file."""
    return results_of(Study.load(file, out), workers)


@pytest.fixture
def write_study(folders: Path, tmp_path: Path) -> Write:
    """Write the small study with some entries replaced; returns its file."""
    return _writer(STUDY, folders, tmp_path / "study.yaml")


@pytest.fixture
def write_search(folders: Path, tmp_path: Path) -> Write:
    """Write the small search with some entries replaced; returns its file."""
    return _writer(SEARCH, folders, tmp_path / "search.yaml")


def _writer(values: dict[str, Any], folders: Path, path: Path) -> Write:
    def write(**changes: Any) -> Path:
        made = copy.deepcopy(values) | {"splits": {"store": str(folders / "split")}} | changes
        path.write_text(
            yaml.safe_dump({key: value for key, value in made.items() if value is not None}, sort_keys=False)
        )
        return path

    return write
