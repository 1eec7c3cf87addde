"""A stage makes its artifact once, continues unfinished work, and never mixes two artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hardneg import artifacts
from hardneg.errors import ConfigError
from hardneg.stage import Draft, Stage


def counting(settings: dict[str, int], calls: list[str], work: Callable[[Draft], None] | None = None) -> Stage:
    def build(draft: Draft) -> None:
        calls.append(draft.key)
        (draft.folder / "table.txt").write_text(str(settings))
        draft.notes["rows"] = 3
        draft.write_costs({"seconds": 1.5})
        if work is not None:
            work(draft)

    return Stage("thing", settings, {"split": "abc"}, build)


def test_it_runs_once_and_its_manifest_says_what_made_it(tmp_path: Path) -> None:
    calls: list[str] = []
    stage = counting({"seed": 1}, calls)
    assert not stage.is_finished(tmp_path / "out")
    assert stage.run(tmp_path / "out") == stage.run(tmp_path / "out") == tmp_path / "out"
    assert calls == [stage.key()]
    assert stage.is_finished(tmp_path / "out")
    manifest = artifacts.read_manifest(tmp_path / "out", "thing")
    assert (manifest["key"], manifest["config"], manifest["inputs"]) == (stage.key(), {"seed": 1}, {"split": "abc"})
    assert manifest["notes"] == {"rows": 3}
    assert json.loads((tmp_path / "out" / "costs.json").read_text()) == {"seconds": 1.5}


def test_its_key_follows_from_kind_settings_and_inputs(tmp_path: Path) -> None:
    stage = counting({"seed": 1}, [])
    others = [
        Stage("other", stage.settings, stage.inputs, stage.build),
        Stage("thing", {"seed": 2}, stage.inputs, stage.build),
        Stage("thing", stage.settings, {"split": "abd"}, stage.build),
    ]
    assert len({one.key() for one in (stage, *others)}) == 4
    assert counting({"seed": 1}, []).key() == stage.key()


def test_a_folder_with_another_artifact_is_refused_or_replaced(tmp_path: Path) -> None:
    calls: list[str] = []
    first, second = counting({"seed": 1}, calls), counting({"seed": 2}, calls)
    first.run(tmp_path / "out")
    with pytest.raises(ConfigError, match="already holds something else"):
        second.run(tmp_path / "out")
    assert first.is_finished(tmp_path / "out")
    second.run(tmp_path / "out", replace=True)
    assert second.is_finished(tmp_path / "out")
    assert calls == [first.key(), second.key()]


def test_unfinished_work_is_kept_for_the_next_call_and_its_checkpoint_removed_at_the_end(tmp_path: Path) -> None:
    found: list[bool] = []

    def interrupted(draft: Draft) -> None:
        checkpoint = draft.folder / artifacts.CHECKPOINT
        found.append(checkpoint.exists())
        checkpoint.write_text("half")
        if len(found) == 1:
            raise KeyboardInterrupt

    stage = counting({"seed": 1}, [], interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    stage.run(tmp_path / "out")
    assert found == [False, True]
    assert not (tmp_path / "out" / artifacts.CHECKPOINT).exists()


def test_a_stage_that_fails_before_it_writes_leaves_nothing(tmp_path: Path) -> None:
    def fail(draft: Draft) -> None:
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        Stage("thing", {}, {}, fail).run(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
