"""`hardneg show`: one screen for every kind of folder, escaped text, and commands that exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import typer
from tests.cli.test_commands import refuse, run, succeed, values_of
from tests.edited_folders import accept_changes

from hardneg.cli.main import app
from hardneg.cli.show import FOLLOWING
from hardneg.data import dataset
from hardneg.data import split as splits
from hardneg.judging import suspects
from hardneg.llm.local import gguf
from hardneg.mining import labels
from hardneg.pipeline import BUNDLE, RUN, exports
from hardneg.pipeline.inference import EVALUATION, RELEASED_KIND
from hardneg.pipeline.tuning import TUNED
from hardneg.sampling import mined
from hardneg.studies.folder_summary import FILES, RESULTS
from hardneg.text import profiles, text_vectors
from hardneg.trees import trees_folder

KINDS = {dataset.KIND, splits.KIND, profiles.KIND, text_vectors.KIND, mined.KIND, mined.NEIGHBOURS, labels.KIND, TUNED}
KINDS |= {
    trees_folder.KIND,
    suspects.KIND,
    RUN,
    EVALUATION,
    RELEASED_KIND,
    gguf.KIND,
    BUNDLE,
    exports.KIND,
    RESULTS,
    *FILES,
}


def test_every_kind_has_commands_to_go_on_with() -> None:
    assert set(FOLLOWING) == KINDS


@pytest.mark.parametrize("line", [line for lines in FOLLOWING.values() for line in lines])
def test_the_commands_exist_with_these_options(line: str) -> None:
    command, rest = typer.main.get_command(app), line.split()
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("--")} <= known
    required = {name for p in command.params if p.required and p.param_type_name == "option" for name in p.opts}
    assert required <= set(rest)
    arguments = [p for p in command.params if p.param_type_name == "argument" and p.required]
    assert sum(word.isupper() or "/" in word for word in re.sub(r"--\S+ \S+", "", " ".join(rest)).split()) >= len(
        [p for p in arguments if p.nargs == 1]
    )


def test_one_screen(folders: Path) -> None:
    output = succeed("show", folders / "split")
    for text in ("split", "made from", "train pairs 1,", "train.parquet (", "hardneg 0", "unchanged: all agree"):
        assert text in output
    assert f"Next: hardneg train {folders / 'split'} --sampler mixgcf" in output
    assert len(output.splitlines()) < 40
    values = values_of("show", folders / "split")
    assert values["kind"] == "split"
    assert values["differences"] == {"changed": [], "missing": [], "additional": []}
    assert "not compared" in succeed("show", folders / "split", "--trust")


def test_the_next_commands_name_what_the_folder_was_made_from(folders: Path, tmp_path: Path) -> None:
    root = tmp_path
    shutil.copytree(folders / "split", split := root / "data" / "split")
    fit = ["--epochs", 1, "--set", "model.embedding_size=8"]
    succeed("train", split, *fit, "--out", root / "runs" / "lightgcn")
    assert f"Next: hardneg evaluate {root / 'runs' / 'lightgcn'} --split {split}" in succeed(
        "show", root / "runs" / "lightgcn"
    )
    succeed("trees", "build", split, "--run", root / "runs" / "lightgcn", "--out", root / "out" / "trees")
    output = succeed("show", root / "out" / "trees")
    assert f"suspects identify {split} --run {root / 'runs' / 'lightgcn'} --trees {root / 'out' / 'trees'}" in output


def test_changed_files_and_texts_of_the_data_are_shown_safely(folders: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    shutil.copytree(folders / "split", split)

    def edit(manifest: dict[str, object]) -> None:
        manifest["notes"] = {"remarks": ["a title \x1b[31m\nof two lines [bold]"]}

    edit_manifest(split, edit)
    output = succeed("show", split)
    assert "\x1b" not in output
    assert r"a title \x1b[31m\nof two lines [bold]" in output
    (split / "test.parquet").write_bytes(b"")
    assert "changed: test.parquet" in succeed("show", split)


def edit_manifest(folder: Path, edit: object) -> None:
    import json

    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)  # type: ignore[operator]
    path.write_text(json.dumps(manifest))
    accept_changes(folder)


def test_another_folder_is_one_line(tmp_path: Path) -> None:
    assert "holds none of manifest.json" in refuse("show", tmp_path)
    assert "does not exist" in refuse("show", tmp_path / "absent")
    assert run("show").exit_code == 2
