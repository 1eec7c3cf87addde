"""Every ready study: its form, and a run of it at reduced size."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.cli.test_commands import refuse, succeed, values_of
from tests.studies.conftest import STUDY

from hardneg.config import parse_yaml
from hardneg.errors import ConfigError
from hardneg.studies import Study, estimate
from hardneg.studies.ready_studies import find_ready, ready_names

NAMES = ready_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_study_is_complete(name: str, folders: Path) -> None:
    ready = find_ready(name)
    values, repeated = parse_yaml(ready.text, name)
    assert (values["name"], repeated) == (name, [])
    assert ready.paper.startswith(("HNLMRec, ", "DTL-NS, "))
    assert ready.question.endswith("?")
    assert f"hardneg study run {name} --split" in ready.text
    assert values["seeds"] == 5
    llms = [] if ready.llms != "needed" else ["a/first-1B", "b/second-2B"]
    splits = [f"s{n}={folders / 'split'}" for n in range(ready.least_splits)]
    study = Study.load(name, only=splits, llms=llms)
    assert len(study.runs()) == len(study.cells) * 5 - sum(5 - len(study.seeds(cell)) for cell in study.cells)
    if ready.llms == "optional":
        lines = {cell.line for cell in study.cells}
        assert lines < {cell.line for cell in Study.load(name, only=splits, llms=["a/first-1B"]).cells}


def test_the_list_names_every_ready_study() -> None:
    output, values = succeed("study", "list"), values_of("study", "list")
    assert [one["name"] for one in values] == NAMES
    assert all(name in output for name in NAMES)
    assert "--split and --llm" in output


def test_a_copy_is_the_same_study(folders: Path, tmp_path: Path) -> None:
    split = f"shop={folders / 'split'}"
    with_split, without = tmp_path / "with.yaml", tmp_path / "without.yaml"
    output = succeed("init", "study", "alpha", "--split", split, "--out", with_split)
    assert output.splitlines()[-1] == f"Next: hardneg study estimate {with_split}"
    output = succeed("init", "study", "alpha", "--out", without)
    assert output.splitlines()[-1] == f"Next: hardneg study estimate {without} --split SPLIT"
    assert without.read_text() == find_ready("alpha").text
    specs = [
        Study.load(source, only=only).spec
        for source, only in (("alpha", [split]), (with_split, []), (without, [split]))
    ]
    assert specs[0] == specs[1] == specs[2]
    assert "expected a ready study: " in refuse("init", "study", "alfa", "--out", tmp_path / "x.yaml")
    assert "ready ones are studies" in refuse("init", "search", "alpha", "--out", tmp_path / "x.yaml")


def test_what_to_pass_is_said_in_a_line(folders: Path, tmp_path: Path) -> None:
    assert "study alpha needs a split" in refuse("study", "run", "alpha")
    assert "give --llm NAME" in refuse("study", "run", "scale", "--split", folders / "split")
    assert "a ready study of `hardneg study list`" in refuse("study", "run", "alfa")
    with pytest.raises(ConfigError, match="does not exist"):
        Study.load(str(tmp_path / "missing.yaml"))


def test_a_dry_run_counts_and_the_next_command_repeats_the_options(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.001)
    words = ["alpha", "--split", f"shop={folders / 'split'}", "--out", tmp_path / "out"]
    words[3:3] = ["--seeds", 4]
    output = succeed("study", "run", *words, "--dry-run")
    assert "60 runs, 0 finished" in output
    assert output.splitlines()[-1] == f"Next: hardneg study run {' '.join(map(str, words))}"
    assert not (tmp_path / "out").exists()


def test_a_study_prints_the_conclusions_of_its_figures(folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    values = STUDY | {"splits": {"store": str(folders / "split")}, "models": {"MF": STUDY["models"]["MF"]}}
    values |= {"rows": {"uniform": STUDY["rows"]["uniform"]}, "figures": [{"x": "method"}]}
    file.write_text(yaml.safe_dump(values))
    words = ["study", "run", file, "--seeds", 1, "--out", tmp_path / "out"]
    printed, (drawn,) = succeed(*words), values_of(*words)["figures"]
    assert f"Figure {drawn['key']}.svg, {drawn['title']}: " in printed
    assert Path(drawn["file"]).is_file()
