"""Files are replaced as a whole, temporary ones are removed, and errors of the disk name the file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardneg import storage
from hardneg.errors import DamagedError


def test_replace_file_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    storage.replace_file(path, b"first")
    storage.replace_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_file_and_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.bin"
    storage.replace_file(path, b"first")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(OSError, match="state"):
        storage.replace_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replacement_removes_what_killed_processes_left_of_the_same_file(tmp_path: Path) -> None:
    ended = 2**22 + 1  # above the largest process id of Linux
    left, others = tmp_path / f".a.{ended}.new", [tmp_path / f".b.{ended}.new", tmp_path / f".a.{os.getppid()}.new"]
    for path in (left, *others):
        path.touch()
    storage.replace_file(tmp_path / "a", b"x")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a", *others])


def test_temporary_files_of_running_processes_are_spared(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    running, ended = tmp_path / f".a.{os.getppid()}.new", tmp_path / "deep" / f".b.{2**22 + 1}.new"
    for path in (running, ended):
        path.touch()
    storage.remove_temporary(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [running]


def test_hidden_files_are_removed_whatever_library_wrote_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in (".tmpAb1c2D", "deep/.a.1.new", "kept"):
        (tmp_path / name).touch()
    storage.remove_hidden(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np, polars as pl
from safetensors.numpy import save_file
from hardneg import storage

resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
folder, table = Path(sys.argv[1]), np.zeros((2**16, 8))
writers = [
    lambda: np.save(folder / "a.npy", table),
    lambda: pl.DataFrame(table).write_parquet(folder / "a.parquet", compression="uncompressed"),
    lambda: pl.LazyFrame(table).sink_parquet(folder / "b.parquet", compression="uncompressed"),
    lambda: save_file({"a": table}, folder / "a.safetensors"),
    lambda: (folder / "a.txt").write_text("x" * 2**20),
    lambda: storage.write_json(folder / "a.json", {"a": "x" * 2**20}),
    lambda: storage.replace_file(folder / "b.json", b"x" * 2**20),
]
for write in writers:
    try:
        with storage.name_disk_errors(folder / "here"):
            write()
    except OSError as error:
        print(error.filename, error.strerror, sep="|")
print(*(path.name for path in folder.iterdir() if path.name.startswith(".")))
"""


def test_a_full_disk_is_an_os_error_with_a_path_from_every_library(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    *lines, hidden = ended.stdout.split("\n")[:-1]
    files = ["here", "here", "here", "here", "here", "a.json", "b.json"]
    assert [line.split("|")[0] for line in lines] == [str(tmp_path / file) for file in files]
    assert all(line.endswith(("File too large", "No space left on device")) for line in lines)
    assert hidden == "", "a failed replacement leaves no file"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"3", b"[" * 100_000])
def test_a_file_that_is_no_mapping_in_json_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.json"):
        storage.read_json(tmp_path / "a.json")
