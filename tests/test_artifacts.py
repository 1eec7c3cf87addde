"""Folders: finished or not there, recognised by their key, and never overwritten."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from hardneg import artifacts
from hardneg.errors import ConfigError, DamagedError, DataError

CONFIG, INPUTS = {"seed": 1}, {"dataset": "abc"}
KEY = artifacts.artifact_key("split", CONFIG, INPUTS)


def make(folder: Path, config: dict[str, int] = CONFIG, text: str = "hello") -> None:
    with artifacts.writing(folder, "split", config, INPUTS, {"rows": 3}) as out:
        (out / "deep").mkdir(exist_ok=True)
        (out / "deep" / "a.txt").write_text(text)
        (out / "costs.json").write_text("{}")


def test_the_key_depends_on_everything_but_the_order() -> None:
    same = artifacts.artifact_key("x", {"a": 1, "b": 2}, {"p": "1", "q": "2"})
    assert same == artifacts.artifact_key("x", {"b": 2, "a": 1}, {"q": "2", "p": "1"})
    others = [
        artifacts.artifact_key("y", {"a": 1, "b": 2}, {"p": "1", "q": "2"}),
        artifacts.artifact_key("x", {"a": 2, "b": 1}, {"p": "1", "q": "2"}),
        artifacts.artifact_key("x", {"a": 1, "b": 2}, {"p": "2", "q": "1"}),
        artifacts.artifact_key("x", {"a": 1}, {"b": "2", "p": "1", "q": "2"}),
    ]
    assert len({same, *others}) == 5


def test_a_finished_folder_is_recognised_and_says_what_made_it(tmp_path: Path) -> None:
    assert not artifacts.is_finished(tmp_path / "s", KEY)
    assert not artifacts.is_artifact(tmp_path / "s")
    make(tmp_path / "s")
    assert artifacts.is_finished(tmp_path / "s", KEY)
    assert artifacts.is_artifact(tmp_path / "s")
    manifest = artifacts.read_manifest(tmp_path / "s", "split")
    assert manifest["key"] == KEY
    assert manifest["config"] == CONFIG
    assert manifest["inputs"] == INPUTS
    assert manifest["notes"] == {"rows": 3}
    assert manifest["files"] == {"deep/a.txt": hashlib.sha256(b"hello").hexdigest()}
    assert manifest["costs"] == {"costs.json": hashlib.sha256(b"{}").hexdigest()}
    assert {"hardneg", *artifacts.LIBRARIES} == set(manifest["versions"])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_an_empty_folder_counts_as_none_and_is_filled(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    assert not artifacts.is_finished(tmp_path / "s", KEY)
    make(tmp_path / "s")
    assert artifacts.is_finished(tmp_path / "s", KEY)


def test_a_folder_with_another_key_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "s")
    other = artifacts.artifact_key("split", {"seed": 2}, INPUTS)
    with pytest.raises(ConfigError, match=r"s already holds something else .*choose another --out or remove"):
        artifacts.is_finished(tmp_path / "s", other)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="already holds something else"):
        artifacts.is_finished(tmp_path, KEY)


@pytest.mark.parametrize("manifest", [b"[]", b"\xff", b"{", b"null", b"{}", b"[" * 100_000])
def test_a_folder_with_a_broken_manifest_is_not_written_over(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / artifacts.MANIFEST).write_bytes(manifest)
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        artifacts.is_finished(tmp_path, KEY)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    with pytest.raises(ConfigError, match="already holds something else"):
        artifacts.is_finished(tmp_path / "s", KEY)


def test_writing_never_replaces_something_else(tmp_path: Path) -> None:
    """Also where the caller forgot to ask `finished`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="already holds something else"):
        make(folder)
    assert (folder / "photo.jpg").read_bytes() == b"x"
    make(tmp_path / "s")
    with pytest.raises(ConfigError, match="already holds something else"):
        make(tmp_path / "s", {"seed": 2}, "other")
    assert (tmp_path / "s" / "deep" / "a.txt").read_text() == "hello"


def test_an_interrupted_writing_leaves_nothing_at_the_final_place(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        with artifacts.writing(folder, "split", CONFIG, INPUTS) as out:
            (out / "half.txt").write_text("hal")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert not artifacts.is_finished(tmp_path / "s", KEY)
    growing = artifacts.partial_folder(tmp_path / "s", KEY)
    assert (growing / "half.txt").read_text() == "hal", "work with checkpoints goes on from there"
    make(tmp_path / "s")
    assert artifacts.is_finished(tmp_path / "s", KEY)
    assert not growing.exists()


def test_unfinished_work_under_another_key_is_not_mixed_in(tmp_path: Path) -> None:
    assert artifacts.partial_folder(tmp_path / "s", KEY) != artifacts.partial_folder(tmp_path / "s", KEY[::-1])


def test_content_hashes_leave_manifest_and_costs_out(tmp_path: Path) -> None:
    make(tmp_path / "s")
    expected = {"deep/a.txt": hashlib.sha256(b"hello").hexdigest()}
    assert artifacts.content_hashes(tmp_path / "s") == expected
    before = artifacts.folder_hash(tmp_path / "s")
    (tmp_path / "s" / "costs.json").write_text('{"seconds": 3}')
    (tmp_path / "s" / artifacts.MANIFEST).write_text("{}")
    assert artifacts.folder_hash(tmp_path / "s") == before
    (tmp_path / "s" / "deep" / "a.txt").write_text("hallo")
    assert artifacts.folder_hash(tmp_path / "s") != before


def test_the_hash_of_named_files_sees_no_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    before = artifacts.folder_hash(tmp_path, ("a", "absent"))
    (tmp_path / "b").write_text("changed")
    assert artifacts.folder_hash(tmp_path, ("a", "absent")) == before
    (tmp_path / "a").write_text("changed")
    assert artifacts.folder_hash(tmp_path, ("a", "absent")) != before


def test_a_folder_of_another_kind_is_a_data_error(tmp_path: Path) -> None:
    make(tmp_path / "s")
    with pytest.raises(DataError, match=r"s is a split folder, expected a dataset folder; check the order"):
        artifacts.read_manifest(tmp_path / "s", "dataset")


def test_a_folder_without_manifest_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest.json, expected a finished split folder; check the path"):
        artifacts.read_manifest(tmp_path / "nowhere", "split")


@pytest.mark.parametrize("text", [b"{", b"", b"\xff\xfe", b"[]", b"{}"])
def test_a_broken_manifest_is_damage(tmp_path: Path, text: bytes) -> None:
    (tmp_path / artifacts.MANIFEST).write_bytes(text)
    with pytest.raises(DamagedError, match=r"manifest.json .* again"):
        artifacts.read_manifest(tmp_path, "split")


@pytest.mark.parametrize("name", artifacts.ENTRIES)
@pytest.mark.parametrize("value", [None, 3, ["a"]])
@pytest.mark.parametrize("trusted", [False, True])
def test_an_entry_of_another_type_is_damage_also_when_trusted(
    tmp_path: Path, name: str, value: object, trusted: bool
) -> None:
    make(tmp_path / "s")
    edit_manifest(tmp_path / "s", {name: value})
    with artifacts.trusting(trusted), pytest.raises(DamagedError, match=rf"manifest\.json has no valid entry '{name}'"):
        artifacts.read_manifest(tmp_path / "s", "split")


@pytest.mark.parametrize("change", [{"notes": {"rows": 4}}, {"sha256": None}, {"sha256": "0" * 64}])
def test_a_changed_manifest_differs_from_its_own_checksum(tmp_path: Path, change: dict[str, object]) -> None:
    make(tmp_path / "s")
    edit_manifest(tmp_path / "s", change)
    with pytest.raises(DamagedError, match=r"manifest\.json was changed or damaged .* --trust"):
        artifacts.read_manifest(tmp_path / "s", "split")
    with artifacts.trusting():
        assert artifacts.read_manifest(tmp_path / "s", "split")["kind"] == "split"


def edit_manifest(folder: Path, change: dict[str, object]) -> None:
    path = folder / artifacts.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_a_changed_file_is_found_when_the_folder_is_read(tmp_path: Path) -> None:
    make(tmp_path / "s")
    (tmp_path / "s" / "deep" / "a.txt").write_text("hallo")
    with pytest.raises(
        DamagedError, match=r"deep/a\.txt differs from its manifest: .*; make the folder again, or .*--trust"
    ):
        artifacts.read_manifest(tmp_path / "s", "split")
    with artifacts.trusting():
        artifacts.read_manifest(tmp_path / "s", "split")
    with pytest.raises(DamagedError):
        artifacts.read_manifest(tmp_path / "s", "split")
    (tmp_path / "s" / "deep" / "a.txt").write_text("hello")
    artifacts.read_manifest(tmp_path / "s", "split")


@pytest.mark.parametrize("name", ["costs.json", "deep/a.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    make(tmp_path / "s")
    (tmp_path / "s" / name).unlink()
    with pytest.raises(DamagedError, match=f"{name} is missing"):
        artifacts.read_manifest(tmp_path / "s", "split")


def test_all_differences_are_listed_and_an_artifact_inside_is_none(tmp_path: Path) -> None:
    make(tmp_path / "s")
    make(tmp_path / "s" / "evaluation")
    assert artifacts.compare_with_manifest(tmp_path / "s") == artifacts.Differences([], [], [])
    (tmp_path / "s" / "deep" / "a.txt").write_text("hallo")
    (tmp_path / "s" / "costs.json").unlink()
    (tmp_path / "s" / "more.txt").write_text("")
    found = artifacts.compare_with_manifest(tmp_path / "s")
    assert found == artifacts.Differences(["deep/a.txt"], ["costs.json"], ["more.txt"])
    artifacts.read_manifest(tmp_path / "s" / "evaluation", "split")


def test_temporary_files_of_a_killed_process_do_not_end_in_the_artifact(tmp_path: Path) -> None:
    left = artifacts.partial_folder(tmp_path / "s", KEY) / "deep"
    left.mkdir(parents=True)
    (left / ".a.txt.1.new").write_text("half")
    with artifacts.writing(tmp_path / "s", "split", CONFIG, INPUTS) as out:
        assert not list(out.rglob("*.new"))
        (out / "deep" / "a.txt").write_text("hello")
        (out / "deep" / ".b.txt.1.new").write_text("half")
    assert artifacts.content_hashes(tmp_path / "s") == {"deep/a.txt": hashlib.sha256(b"hello").hexdigest()}
    assert [path.name for path in (tmp_path / "s" / "deep").iterdir()] == ["a.txt"]


def test_another_artifact_is_replaced_only_once_the_new_one_is_complete(tmp_path: Path) -> None:
    make(tmp_path / "s")
    with pytest.raises(KeyboardInterrupt), artifacts.writing(tmp_path / "s", "split", {}, {}, replace=True):
        raise KeyboardInterrupt
    assert artifacts.is_finished(tmp_path / "s", KEY)
    with artifacts.writing(tmp_path / "s", "split", {}, {}, replace=True) as out:
        (out / "b.txt").write_text("other")
    assert artifacts.compare_with_manifest(tmp_path / "s") == artifacts.Differences([], [], [])
    assert {path.name for path in tmp_path.iterdir()} == {"s", artifacts.replaced_folder(tmp_path / "s").name}


def test_unfinished_work_is_removed_unless_it_goes_on(tmp_path: Path) -> None:
    make(tmp_path / "s")
    other = artifacts.partial_folder(tmp_path / "s", "0" * 64)
    for left in (artifacts.partial_folder(tmp_path / "s", KEY), other, artifacts.partial_folder(tmp_path / "s.b", KEY)):
        left.mkdir()
        left.with_suffix(".lock").touch()
    artifacts.remove_unfinished(tmp_path / "s", KEY)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"s", other.name, f".s.b.{KEY[:12]}.partial"}
    with artifacts.writing(tmp_path / "s", "split", {}, {}, replace=True) as running:
        artifacts.remove_unfinished(tmp_path / "s")
        assert running.is_dir()
        assert not other.exists()
    assert (tmp_path / f".s.b.{KEY[:12]}.partial").is_dir()


def test_the_manifest_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    make(tmp_path / "s")
    text = (tmp_path / "s" / artifacts.MANIFEST).read_text()
    assert list(json.loads(text)) == [
        "kind",
        "key",
        "config",
        "inputs",
        "notes",
        "files",
        "costs",
        "versions",
        "sha256",
    ]
    assert text.count("\n") > 7


def test_two_processes_do_not_make_one_folder(tmp_path: Path) -> None:
    with (
        artifacts.writing(tmp_path / "run", "run", {}, {}) as growing,
        pytest.raises(ConfigError, match=r"another process is making .*run; wait for it"),
        artifacts.writing(tmp_path / "run", "run", {}, {}),
    ):
        raise AssertionError("the second must not get in")
    assert not growing.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_same_result_made_meanwhile_is_kept(tmp_path: Path) -> None:
    with artifacts.writing(tmp_path / "a", "run", {}, {}) as growing:
        (growing / "x").write_text("1")
    with artifacts.writing(tmp_path / "b", "run", {}, {}) as growing:
        (growing / "x").write_text("1")
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "b" / "evaluation").mkdir()
    assert (tmp_path / "b" / "evaluation").is_dir()
    assert not growing.exists()


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reads = tmp_path / "a.txt", []
    path.write_text("one")
    os.utime(path, (1, 1))  # a file that changed just now may change again without a new time, and is not remembered
    digest = artifacts.hashlib.file_digest
    monkeypatch.setattr(artifacts.hashlib, "file_digest", lambda *given: reads.append(1) or digest(*given))
    first = artifacts.file_hash(path)
    assert artifacts.file_hash(path) == first
    assert len(reads) == 1
    path.rename(tmp_path / "b.txt")
    assert artifacts.file_hash(tmp_path / "b.txt") == first
    assert len(reads) == 1, "the same file under another name"
    (tmp_path / "b.txt").write_text("two")
    assert artifacts.file_hash(tmp_path / "b.txt") != first
    assert len(reads) == 2
