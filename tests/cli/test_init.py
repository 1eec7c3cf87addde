"""`hardneg init`: its files load as they are, and with the commented parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cli.test_commands import refuse, succeed, values_of

from hardneg.cli.config_files import read_run_file
from hardneg.config import read_yaml
from hardneg.models import LightGCN
from hardneg.sampling import MixGCF
from hardneg.studies import Search, Study
from hardneg.studies.load import read_search, read_study
from hardneg.training import FitConfig


def test_a_study_loads_as_it_is(folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "shop.yaml"
    output = succeed("init", "study", "--split", f"shop={folders / 'split'}", "--out", file)
    assert output.splitlines()[-1] == f"Next: hardneg study estimate {file}"
    spec, cells = read_study(file)
    assert (spec.name, list(spec.rows), len(cells)) == ("shop", ["uniform", "DNS", "MixGCF"], 3)
    assert spec.fit == FitConfig(), "the defaults are written out"
    assert len(Study.load(file, tmp_path / "out").runs()) == 15


def test_its_commented_parts_load_as_well(folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    succeed("init", "study", "--split", f"shop={folders / 'split'}", "--out", file)
    first, *lines = file.read_text().splitlines()
    file.write_text(
        "\n".join(re.sub(r"^(\s*)# (?=\s*[\w, ]+:\s)", r"\1", line) for line in lines if "tuned:" not in line)
    )
    spec, cells = read_study(file)
    assert set(spec.models) == {"LightGCN", "MF"}
    assert set(spec.negatives) == {"retrieved", "noise"}
    assert {cell.line for cell in cells} >= {"text", "text, control", "DNS and text", "DNS and text + text"}
    assert first.startswith("# Compares methods")


def test_a_search_loads_as_it_is_and_a_study_names_its_folder(folders: Path, tmp_path: Path) -> None:
    file, study = tmp_path / "search.yaml", tmp_path / "study.yaml"
    succeed("init", "search", "--split", f"shop={folders / 'split'}", "--out", file)
    spec, cells = read_search(file)
    assert (spec.name, spec.trials, len(cells)) == ("shop-search", 10, 3)
    pytest.importorskip("optuna")
    assert len(Search.load(file, tmp_path / "out").tasks()) == 3
    succeed("init", "study", "--split", f"shop={folders / 'split'}", "--out", study)
    assert f"# tuned: out/{spec.name} " in study.read_text()


@pytest.mark.parametrize("commented", [False, True])
def test_a_run_file_has_the_defaults_of_a_run(tmp_path: Path, commented: bool) -> None:
    file = tmp_path / "run.yaml"
    output = succeed("init", "run", "--out", file)
    assert output.splitlines()[-1] == f"Next: hardneg train SPLIT --config {file}"
    if commented:
        _, *lines = file.read_text().splitlines()
        file.write_text("\n".join(re.sub(r"^# (?=\s*\w+:\s)", "", line) for line in lines))
    kinds: dict[str, str | None] = {"model": None, "sampler": None}
    config, folders = read_run_file(file, kinds=kinds, use_suspects=None, settings=[], folders={})
    assert (config.model, config.sampler, config.fit) == (LightGCN(), MixGCF(), FitConfig())
    assert (config.suspects is not None, folders.trees) == (commented, Path("out/trees") if commented else None)
    assert "does not name" in refuse("init", "run", "--split", "a=b", "--out", tmp_path / "other.yaml")


@pytest.mark.parametrize("name", ["My shop", "yes", "1e3", "a: b", "#1", "Läden"])
def test_names_and_folders_are_read_back(folders: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "study.yaml"
    values = values_of("init", "study", "--split", f"{name}={folders / 'split'}", "--split", "b=data/b", "--out", file)
    assert values == {"out": str(file), "splits": {name: str(folders / "split"), "b": "data/b"}}
    assert read_study(file, only=[name])[0].splits[name].folder == folders / "split"


def test_without_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    succeed("init", "study")
    assert read_yaml(Path("study.yaml"))[0]["splits"] == {"shop": "data/shop-split"}
    assert "exists already" in refuse("init", "study")
    assert "expected NAME=FOLDER" in refuse("init", "search", "--split", "data/shop-split")
    assert "--split" in refuse("init", "search", "--split", "...=data/shop-split")
    assert not Path("search.yaml").exists()
