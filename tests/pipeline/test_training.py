"""Stages on folders: a kill at the very end costs nothing, costs are written, the pictures' users come from train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.test_commands import succeed

from hardneg import artifacts, pipeline
from hardneg.checkpoint import TrainingState
from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.pipeline import RunConfig
from hardneg.sampling import DNS, MixGCF, SamplerConfig
from hardneg.training import FitConfig
from hardneg.training.loop import _Loop

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


def test_examples_have_the_ids_and_titles_of_their_indices(folders: Path, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "run")
    split = splits.read_split(folders / "split")
    rows = pl.read_parquet(tmp_path / "run" / "examples.parquet").rows(named=True)
    assert rows
    for row in rows:
        assert row["user_id"] == split.vocabulary.user_ids[row["user"]]
        for side in ("positive", "item"):
            assert row[f"{side}_id"] == split.vocabulary.item_ids[row[side]]
            assert row[f"{side}_title"] == split.texts["title"][row[side]]


def test_shown_users_are_those_nearest_the_median_of_train_pairs() -> None:
    users = np.repeat(np.arange(5), [1, 9, 4, 5, 20])
    items = np.concatenate([np.arange(n) for n in (1, 9, 4, 5, 20)])
    seen = Interactions.of(users, items, n_users=5, n_items=30)
    assert pipeline.shown_users(seen).tolist() == [3, 2, 0]


def train(folders: Path, out: Path, sampler: SamplerConfig, *, earlier: Path | None = None, **fit: int) -> Path:
    config = RunConfig(sampler=sampler, fit=FitConfig(**{"check_every": 2, **fit}))
    return pipeline.train_stage(folders / "split", config, truth=folders / "dataset").run(out, earlier=earlier)


@pytest.mark.parametrize("short", [4, 5])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_raised_limit_gives_the_bits_of_one_run(
    folders: Path, tmp_path: Path, short: int, earlier: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 epochs end with a check that a longer run does not make."""
    whole = train(folders, tmp_path / "whole", MixGCF(), epochs=9)
    first = train(folders, tmp_path / "first", MixGCF(), epochs=short)
    epochs, honest = [], _Loop.run_epoch

    def counted(loop: _Loop, state: TrainingState) -> None:
        honest(loop, state)
        epochs.append(state.iteration)

    monkeypatch.setattr(_Loop, "run_epoch", counted)
    raised = train(folders, tmp_path / "new", MixGCF(), epochs=9, earlier=first) if earlier else first
    assert train(folders, raised, MixGCF(), epochs=9) == raised
    assert epochs == list(range(short + 1, 10))
    manifests = [artifacts.read_manifest(folder, pipeline.RUN) for folder in (whole, raised)]
    assert manifests[0]["key"] == manifests[1]["key"]
    assert manifests[0]["files"] == manifests[1]["files"] == artifacts.content_hashes(raised)
    assert manifests[1]["notes"].pop("continued after epoch") == short
    assert manifests[0]["notes"] == manifests[1]["notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"whole", "first", raised.name})


def test_a_raised_limit_copies_a_run_that_patience_ended(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = {"patience": 1, "learning_rate": 1e-9, "seed": 2}
    whole = train(folders, tmp_path / "whole", DNS(), epochs=60, **fit)
    first = train(folders, tmp_path / "first", DNS(), epochs=50, **fit)
    assert not (first / "last-epoch.safetensors").exists()
    monkeypatch.setattr(_Loop, "run_epoch", lambda *_: pytest.fail("no epoch should be trained again"))
    train(folders, first, DNS(), epochs=60, **fit)
    hashes = artifacts.content_hashes(whole)
    assert hashes == artifacts.content_hashes(first)
    assert artifacts.read_manifest(first, pipeline.RUN)["files"] == hashes


def test_other_settings_than_the_limit_are_no_continuation(folders: Path, tmp_path: Path) -> None:
    first = train(folders, tmp_path / "first", MixGCF(), epochs=4)
    for sampler, fit in ((DNS(), {"epochs": 6}), (MixGCF(), {"epochs": 6, "seed": 1}), (MixGCF(), {"epochs": 2})):
        with pytest.raises(ConfigError, match="already holds something else"):
            train(folders, first, sampler, **fit)


def test_a_kill_while_the_shorter_run_is_replaced_loses_neither(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(folders, tmp_path / "whole", MixGCF(), epochs=6)
    first = train(folders, tmp_path / "first", MixGCF(), epochs=4)
    honest, renamed = artifacts.os.replace, []

    def killed(source: Path, target: Path) -> None:
        renamed.append(source)
        if Path(target) == first:
            raise KeyboardInterrupt
        honest(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(artifacts.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            train(folders, first, MixGCF(), epochs=6)
    train(folders, first, MixGCF(), epochs=6)
    assert artifacts.content_hashes(whole) == artifacts.content_hashes(first)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "whole"]


def test_a_run_whose_best_epoch_is_the_last_allowed_says_so(folders: Path, tmp_path: Path) -> None:
    rising = artifacts.read_manifest(train(folders, tmp_path / "a", MixGCF(), epochs=2), pipeline.RUN)["notes"]
    assert (rising["best epoch"], "raise --epochs" in rising["still rising"]) == (2, True)
    still = {"epochs": 4, "learning_rate": 1e-9}
    flat = artifacts.read_manifest(train(folders, tmp_path / "b", MixGCF(), **still), pipeline.RUN)["notes"]
    assert flat["best epoch"] == 2
    assert "still rising" not in flat


def test_a_limit_of_steps_that_raises_the_batch_is_named(folders: Path, tmp_path: Path) -> None:
    usual = ["train", folders / "split", "--epochs", 1, "--set", "fit.batch_size=16", "--set", "fit.learning_rate=1e-3"]
    told = succeed(*usual, "--set", "fit.max_steps=3", "--out", tmp_path / "limited")
    notes = artifacts.read_manifest(tmp_path / "limited", "run")["notes"]
    n_pairs = len(splits.read_split(folders / "split").train)
    assert notes["step size"]["batch_size"] == -(-n_pairs // 3)
    assert f"batches of {notes['step size']['batch_size']:,} pairs with learning rate" in told
    assert (
        "step size" not in artifacts.read_manifest(train(folders, tmp_path / "usual", DNS(), epochs=1), "run")["notes"]
    )
