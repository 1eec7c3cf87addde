"""What is noted of how long shared folders took."""

import json
import shutil
from pathlib import Path

import pytest

from hardneg import artifacts
from hardneg.studies.build_times import SCHEMA, tabulate, timed


def make(folder: Path, content: bytes = b"x" * 2**20) -> None:
    with artifacts.writing(folder, "thing", {}, {}) as growing:
        (growing / "content").write_bytes(content)


def test_a_folder_made_in_the_block_is_noted_with_its_size(tmp_path: Path) -> None:
    with timed(tmp_path / "one"):
        make(tmp_path / "one")
    (row,) = tabulate("store", tmp_path).to_dicts()
    assert (row["split"], row["folder"]) == ("store", "one")
    assert 0 < row["seconds"] < 60
    assert 1 < row["mib"] < 1.01  # the manifest beside it


def test_a_folder_that_stood_keeps_its_first_note(tmp_path: Path) -> None:
    make(tmp_path / "one")
    with timed(tmp_path / "one"):
        pass
    assert tabulate("store", tmp_path)["seconds"].to_list() == [None]
    with timed(tmp_path / "two"):
        make(tmp_path / "two")
    first = tabulate("store", tmp_path)["seconds"].to_list()
    with timed(tmp_path / "two"):
        pass
    assert tabulate("store", tmp_path)["seconds"].to_list() == first


def test_unfinished_work_gone_on_from_has_no_seconds(tmp_path: Path) -> None:
    artifacts.partial_folder(tmp_path / "one", artifacts.artifact_key("thing", {}, {})).mkdir()
    with timed(tmp_path / "one"):
        make(tmp_path / "one")
    assert tabulate("store", tmp_path)["seconds"].to_list() == [None]


def test_a_block_that_fails_notes_nothing(tmp_path: Path) -> None:
    def failing() -> None:
        make(tmp_path / "one")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), timed(tmp_path / "one"):
        failing()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert tabulate("store", tmp_path)["seconds"].to_list() == [None]
    assert tabulate("store", tmp_path / "nowhere").schema == SCHEMA


def test_folders_that_grow_yet_are_none(tmp_path: Path) -> None:
    make(tmp_path / "one.b")
    (tmp_path / "one.b").rename(tmp_path / f".one.b.{'0' * 12}.partial")  # killed between manifest and rename
    assert tabulate("store", tmp_path).is_empty()
    with timed(tmp_path / "one"):
        make(tmp_path / "one")
    assert tabulate("store", tmp_path)["seconds"].null_count() == 0, "what grows there is another folder's"


def test_a_folder_made_again_elsewhere_has_no_seconds(tmp_path: Path) -> None:
    with timed(tmp_path / "one"):
        make(tmp_path / "one")
    shutil.rmtree(tmp_path / "one")
    with artifacts.writing(tmp_path / "one", "thing", {"other": 1}, {}) as growing:
        (growing / "content").write_bytes(b"y")
    assert tabulate("store", tmp_path)["seconds"].to_list() == [None]


@pytest.mark.parametrize("noted", [b"", b"[]", b"{}", b'{"seconds": "long"}', json.dumps({"seconds": None}).encode()])
def test_a_note_that_says_nothing_is_not_measured(tmp_path: Path, noted: bytes) -> None:
    make(tmp_path / "one")
    (tmp_path / ".one.took.json").write_bytes(noted)
    assert tabulate("store", tmp_path)["seconds"].to_list() == [None]
