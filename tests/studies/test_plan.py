"""The plan of shared artifacts: order, state, and the times that they took."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hardneg import artifacts
from hardneg.errors import ConfigError, DamagedError
from hardneg.studies import Study
from hardneg.studies.plan import BUILD_TIMES

from .conftest import STUDY, Write

NEAR: dict[str, Any] = {"method": "neighbours", "by": "random", "k": 3}
MIXING = {"kind": "semantic-mixing", "sampler": {"kind": "dns", "candidates": 4}, "neighbours": 3}
ROWS: dict[str, Any] = {"uniform": STUDY["rows"]["uniform"], "mixed": {"sampler": MIXING, "negatives": "n"}}


@pytest.fixture
def study(write_study: Write, tmp_path: Path) -> Study:
    file = write_study(models={"MF": STUDY["models"]["MF"]}, rows=ROWS, negatives={"n": NEAR})
    return Study.load(file, tmp_path / "out")


def shared(study: Study) -> Path:
    return study.out / "shared" / "store"


def build(study: Study) -> list[float | None]:
    """Seconds of every artifact after a build."""
    study.plan.build(study.cells)
    return study.plan.build_times()["seconds"].to_list()


def test_an_artifact_is_timed_once(study: Study) -> None:
    assert study.plan.build_times().is_empty()
    [seconds] = build(study)
    assert seconds is not None
    assert 0 < seconds < 60
    [row] = study.plan.build_times().to_dicts()
    assert (row["split"], row["folder"]) == ("store", "negatives-n")
    assert 0 < row["mib"] < 1
    assert build(study) == [seconds], "a finished artifact keeps its time"


def test_continued_work_has_no_time(study: Study) -> None:
    [artifact] = study.plan.needed(study.cells)
    stage = study.plan._stage(artifact)
    artifacts.partial_folder(artifact.folder, stage.key()).mkdir(parents=True)
    assert build(study) == [None]


def test_a_time_belongs_to_one_artifact(study: Study) -> None:
    build(study)
    folder = shared(study) / "negatives-n"
    shutil.rmtree(folder)
    with artifacts.writing(folder, "thing", {"other": 1}, {}) as unfinished:
        (unfinished / "content").write_bytes(b"y")
    assert study.plan.build_times()["seconds"].to_list() == [None]


@pytest.mark.parametrize("noted", [b"", b"[]"])
def test_a_damaged_note_of_times_is_named(study: Study, noted: bytes) -> None:
    build(study)
    (shared(study) / BUILD_TIMES).write_bytes(noted)
    with pytest.raises(DamagedError, match=BUILD_TIMES):
        study.plan.build_times()


@pytest.mark.parametrize("noted", [b'{"negatives-n": 1}', json.dumps({"negatives-n": {}}).encode()])
def test_an_unreadable_note_is_no_time(study: Study, noted: bytes) -> None:
    build(study)
    (shared(study) / BUILD_TIMES).write_bytes(noted)
    assert study.plan.build_times()["seconds"].to_list() == [None]


def test_unfinished_folders_are_no_artifacts(study: Study) -> None:
    build(study)
    (shared(study) / "negatives-n").rename(shared(study) / f".negatives-n.{'0' * 12}.partial")
    assert study.plan.build_times().is_empty()  # killed between manifest and rename


def test_an_artifact_that_cannot_be_checked_is_used_and_named(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build(study)

    def fails(*_: object, **__: object) -> None:
        raise ConfigError("no encoder here")

    again = Study.load(tmp_path / "study.yaml", study.out)
    with monkeypatch.context() as patch:
        patch.setattr("hardneg.pipeline.neighbours_stage", fails)
        [artifact] = again.plan.needed(again.cells)
        assert again.plan.problem(artifact) is None
        assert again.plan.unverified(again.cells) == {"negatives 'n' on store": "no encoder here"}
        [remark] = again.results().remarks
        assert "no encoder here" in remark
    again = Study.load(tmp_path / "study.yaml", study.out)
    assert again.plan.unverified(again.cells) == {}


def test_a_study_is_loaded_from_a_mapping_as_well(study: Study, folders: Path, tmp_path: Path) -> None:
    values = STUDY | {"splits": {"store": folders / "split"}, "rows": ROWS, "negatives": {"n": NEAR}}
    loaded = Study.load(values, tmp_path / "other")
    assert [cell.row for cell in loaded.cells[:2]] == ["uniform", "mixed"]
    with pytest.raises(ConfigError, match="the mapping: 1 problem"):
        Study.load(values | {"baseline": "other"})
