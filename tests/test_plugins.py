"""Samplers, judges and readers from outside the package: by `module:Class` and by entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from hardneg.cli.main import app
from hardneg.config import parse_config, read_yaml
from hardneg.data import readers
from hardneg.errors import ConfigError
from hardneg.judging import JudgeConfig, suspects
from hardneg.models import ModelConfig
from hardneg.pipeline import RunConfig
from hardneg.plugins import Registry
from hardneg.sampling import DNS, SamplerConfig, SamplerInputs
from hardneg.studies import Study

MODULE = """
from pathlib import Path

import numpy as np
import polars as pl
import torch

from hardneg.data import Dataset
from hardneg.data.readers import read_table
from hardneg.judging import Judge, JudgeConfig, JudgeInputs
from hardneg.sampling import StatelessSampler
from hardneg.types import Items


class TopOfTwo(StatelessSampler):
    '''The candidate with the higher score, of two; `margin` in its favour for the first.'''

    margin: float = 0.0

    @property
    def n_candidates(self):
        return 2

    def sample(self, batch, embeddings, candidates, stream):
        with torch.no_grad():
            users = embeddings.final_users[batch.users].unsqueeze(1)
            scores = (users * embeddings.final_items[candidates]).sum(dim=2)
        second = (scores[:, 1] > scores[:, 0] + self.margin).long()
        return Items(candidates.gather(1, second.unsqueeze(1)))


class EvenItems(JudgeConfig):
    '''Labels every item with an even index as liked, with one probability.'''

    probability: float = 1.0

    def build(self, inputs):
        return EvenItemsJudge(self.probability)


class EvenItemsJudge:
    name = "even items"

    def __init__(self, probability):
        self.probability = probability

    def probabilities(self, users, candidates):
        return np.where(candidates < 0, np.nan, np.where(candidates % 2 == 0, self.probability, 0.0))


def read_bars(interactions, items=None):
    '''Lines of user|item.'''
    frame = pl.read_csv(interactions, separator="|", has_header=False, new_columns=["user_id", "item_id"])
    frame.write_csv(Path(interactions).with_suffix(".csv"))
    return read_table(Path(interactions).with_suffix(".csv"))


NOT_A_CLASS = 3
"""
ENTRY_POINTS = """
[hardneg.samplers]
top-of-two = plugin_of_a_test:TopOfTwo
dns = plugin_of_a_test:TopOfTwo

[hardneg.judges]
even-items = plugin_of_a_test:EvenItems

[hardneg.readers]
bars = plugin_of_a_test:read_bars
"""
SAMPLERS = ["plugin_of_a_test:TopOfTwo", "top-of-two"]
JUDGES = ["plugin_of_a_test:EvenItems", "even-items"]
FIT = {"epochs": 2, "check_every": 1}


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module on sys.path, and the metadata of an installed package that declares it."""
    folder = tmp_path / "site"
    described = folder / "plugin_of_a_test-1.0.dist-info"
    described.mkdir(parents=True)
    (folder / "plugin_of_a_test.py").write_text(MODULE, encoding="utf-8")
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-a-test\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "plugin_of_a_test", raising=False)
    return folder


def succeed(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_every_built_in_name_leads_to_a_class_of_this_kind() -> None:
    families: tuple[type[SamplerConfig] | type[JudgeConfig] | type[ModelConfig], ...]
    families = (SamplerConfig, JudgeConfig, ModelConfig)
    for family in families:
        for name in family.registry.builtin:
            assert family.find_class(name).model_fields["kind"].default == name


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_run_with_a_sampler_from_outside_reads_back(kind: str) -> None:
    config = parse_config(RunConfig, {"sampler": {"kind": kind, "margin": 0.5}}, where="x")
    values = config.model_dump(mode="json")
    assert values["sampler"] == {"kind": kind, "margin": 0.5}
    assert parse_config(RunConfig, values, where="x") == config
    assert config.sampler.build(SamplerInputs(1, None, 0)) is config.sampler


def test_an_object_created_in_python_names_its_class() -> None:
    sampler = SamplerConfig.find_class("top-of-two")()
    assert sampler.kind == "plugin_of_a_test:TopOfTwo"
    assert (
        parse_config(RunConfig, RunConfig(sampler=sampler).model_dump(exclude_unset=True), where="x").sampler == sampler
    )


def test_a_built_in_kind_takes_precedence() -> None:
    assert SamplerConfig.find_class("dns") is DNS
    assert SamplerConfig.registry.names[0] == "uniform"
    assert SamplerConfig.registry.names[-1] == "top-of-two"


@pytest.mark.parametrize(
    ("sampler", "parts"),
    [
        ({"kind": "mixgfc"}, ["'mixgfc'", "uniform", "did you mean 'mixgcf'?"]),
        ({"kind": "dnss"}, ["did you mean 'dns'?"]),
        ({"kind": "top-of-too"}, ["did you mean 'top-of-two'?"]),
        (
            {"kind": "no_such_module:Class"},
            ["'no_such_module:Class'", "No module named 'no_such_module'", "PYTHONPATH"],
        ),
        ({"kind": "plugin_of_a_test:Absent"}, ["plugin_of_a_test has no Absent"]),
        ({"kind": "plugin_of_a_test:NOT_A_CLASS"}, ["NOT_A_CLASS", "SamplerConfig"]),
        ({"kind": "plugin_of_a_test:EvenItems"}, ["EvenItems", "SamplerConfig"]),
        ({"kind": "os:system"}, ["os:system", "SamplerConfig"]),
        ({"kind": 3}, ["found sampler 3"]),
        ({}, ["no kind"]),
        ("dns", ["found 'dns'", "{kind: ...}"]),
        ({"kind": "top-of-two", "margins": 1}, ["sampler.margins: ", "did you mean margin?"]),
        ({"kind": "dns", "candidates": 2, "top": 3}, ["sampler: ", "found top 3 of 2 candidates"]),
    ],
)
def test_all_problems_are_reported_at_once(sampler: Any, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(RunConfig, {"sampler": sampler, "fit": {"epochs": 0}}, where="run.yaml")
    assert all(part in str(caught.value) for part in [*parts, "fit.epochs"]), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["magic", "hard", "random", "text"])
def test_another_word_gets_no_suggestion(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SamplerConfig.find_class(name)
    assert "did you mean" not in str(caught.value)


def test_an_ambiguous_entry_point_is_refused(plugin: Path) -> None:
    other = plugin / "another-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[hardneg.samplers]\ntop-of-two = another:TopOfTwo\n")
    with pytest.raises(ConfigError, match="another:TopOfTwo, plugin_of_a_test:TopOfTwo"):
        SamplerConfig.find_class("top-of-two")


def test_an_error_inside_a_module_is_not_hidden(plugin: Path) -> None:
    (plugin / "broken_plugin_of_a_test.py").write_text("import os\nos.no_such_function()\n")
    with pytest.raises(AttributeError, match="no_such_function"):
        Registry("sampler", "hardneg.samplers", {}).find("broken_plugin_of_a_test:Any")


@pytest.mark.parametrize("kind", SAMPLERS)
def test_train_with_a_sampler_from_outside(kind: str, folders: Path, tmp_path: Path) -> None:
    fit = [word for name, value in FIT.items() for word in ("--set", f"fit.{name}={value}")]
    split, run = folders / "split", tmp_path / "run"
    succeed("train", split, "--model", "mf", "--sampler", kind, "--set", "sampler.margin=0.25", *fit, "--out", run)
    values, _ = read_yaml(run / "config.yaml")
    assert parse_config(RunConfig, values, where="x").sampler.model_dump() == {"kind": kind, "margin": 0.25}


@pytest.mark.parametrize("kind", JUDGES)
def test_suspects_by_a_judge_from_outside(kind: str, folders: Path, tmp_path: Path) -> None:
    split, run, out = folders / "split", tmp_path / "run", tmp_path / "suspects"
    succeed("train", split, "--model", "mf", "--set", "fit.epochs=1", "--set", "fit.check_every=1", "--out", run)
    identify = ("suspects", "identify", split, "--run", run, "--candidates", 4)
    succeed(*identify, "--judge", kind, "--set", "probability=0.75", "--out", out)
    assert set(pl.read_parquet(out / suspects.TABLE)["probability"]) == {0.0, 0.75}


@pytest.mark.parametrize(("sampler", "judge"), list(zip(SAMPLERS, JUDGES, strict=True)))
@pytest.mark.parametrize("workers", [0, 1])
def test_a_study_of_both(sampler: str, judge: str, workers: int, folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    run = {"model": "MF", "row": "uniform"}
    values: dict[str, Any] = {
        "name": "outside",
        "splits": {"store": str(folders / "split")},
        "models": {"MF": {"kind": "mf", "embedding_size": 8}},
        "suspects": {
            "even": {"method": "dual-tree", "run": run, "candidates": 4, "judge": {"kind": judge, "probability": 0.9}}
        },
        "rows": {
            "uniform": {"sampler": {"kind": "uniform"}},
            "outside": {"sampler": {"kind": sampler}, "suspects": {"name": "even", "use": "exclude"}},
        },
        "options": {"sampler.margin": [0.0, 0.5]},
        "fit": FIT,
        "seeds": 1,
        "baseline": "uniform",
    }
    file.write_text(yaml.safe_dump(values))
    study = Study.load(file, tmp_path / "out")
    study.run(workers)
    assert study.results().failed == {}
    (table,) = (tmp_path / "out").rglob(suspects.TABLE)
    assert set(pl.read_parquet(table)["probability"]) == {0.0, 0.9}


def test_a_reader_from_outside(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("u1|i1\nu1|i2\nu2|i1\n")
    for name in ("bars", "plugin_of_a_test:read_bars"):
        assert readers.READERS.find(name)(tmp_path / "pairs.txt").interactions.height == 3
    data = ("data", "import", "custom", "plugin_of_a_test:read_bars", tmp_path / "pairs.txt")
    assert "3 pairs, 2 users, 2 items" in succeed(*data, "--out", tmp_path / "data")
    assert readers.READERS.find("movielens") is readers.open_movielens
    with pytest.raises(ConfigError, match="did you mean 'movielens'"):
        readers.READERS.find("movielen")


def test_a_plugin_is_imported_only_when_named(plugin: Path) -> None:
    code = (
        "import sys; from hardneg.config import parse_config; from hardneg.pipeline import RunConfig;"
        "parse_config(RunConfig, {'sampler': {'kind': 'dns'}}, where='x');"
        "from hardneg.sampling import SAMPLERS; assert 'top-of-two' in SAMPLERS.names;"
        "assert 'plugin_of_a_test' not in sys.modules"
    )
    paths = os.pathsep.join([str(plugin), *(path for path in sys.path if path)])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths})
