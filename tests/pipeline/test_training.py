"""Stages on folders: a kill at the very end costs nothing, costs are written, the pictures' users come from train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hardneg import artifacts, pipeline
from hardneg.data import Interactions
from hardneg.pipeline import RunConfig
from hardneg.training import FitConfig

CONFIG = RunConfig(fit=FitConfig(epochs=4, check_every=2))


def test_a_kill_while_the_folder_is_finished_costs_no_epoch(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "whole")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(artifacts.os, "replace", _last_call_killed(artifacts.os.replace, killed))
        with pytest.raises(KeyboardInterrupt):
            pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()

    def forbidden(*_: object) -> None:
        raise AssertionError("no epoch should be trained again")

    monkeypatch.setattr("hardneg.training.loop._Loop.run_epoch", forbidden)
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "run")
    assert artifacts.content_hashes(tmp_path / "run") == artifacts.content_hashes(tmp_path / "whole")
    assert not list((tmp_path / "run").glob("*checkpoint*"))


def _last_call_killed(honest: object, killed: object) -> object:
    """os.replace that works for files and dies when a folder is put in its place."""
    return lambda source, target: killed() if Path(source).is_dir() else honest(source, target)


def test_costs_are_written_beside_quality(folders: Path, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "run")
    costs = json.loads((tmp_path / "run" / "costs.json").read_text())
    assert costs["seconds"] > 0
    assert 50 < costs["peak_memory_mib"] < 20_000
    assert (costs["llm_calls"], costs["llm_tokens"], costs["money"]) == (0, 0, 0.0)


def test_shown_users_are_those_nearest_the_median_of_train_pairs() -> None:
    users = np.repeat(np.arange(5), [1, 9, 4, 5, 20])
    items = np.concatenate([np.arange(n) for n in (1, 9, 4, 5, 20)])
    seen = Interactions.of(users, items, n_users=5, n_items=30)
    assert pipeline.shown_users(seen).tolist() == [3, 2, 0]
