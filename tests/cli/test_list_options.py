"""`hardneg options`: every name of the registries, and the options of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_commands import refuse, succeed, values_of

from hardneg.judging import JudgeConfig
from hardneg.models import BaselineConfig, ModelConfig
from hardneg.sampling import SamplerConfig, SourceConfig
from hardneg.training import LossConfig

FAMILIES = {
    "sampler": SamplerConfig,
    "candidates": SourceConfig,
    "backbone": ModelConfig,
    "loss": LossConfig,
    "baseline": BaselineConfig,
    "judge": JudgeConfig,
}
NAMES = [(family, name) for family, kind in FAMILIES.items() for name in kind.registry.builtin]


def test_all_names_are_listed() -> None:
    rows: Any = values_of("options")
    assert [(row["family"], row["name"]) for row in rows] == NAMES
    assert {row["found in"] for row in rows} == {"hardneg"}
    output = succeed("options", "judge")
    assert "likelihood" in output
    assert "mixgcf" not in output


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_each_has_its_options_and_a_command_to_go_on_with(family: str, name: str) -> None:
    output = succeed("options", family, name)
    assert output.startswith(f"{name}: ")
    assert "Source: hardneg." in output
    values: Any = values_of("options", family, name)
    assert [field["name"] for field in values["fields"]] == [
        field for field in FAMILIES[family].find_class(name).model_fields if field != "kind"
    ]
    assert all(field["name"] in output for field in values["fields"])


def test_options_are_named_as_they_are_set() -> None:
    output = succeed("options", "sampler", "dns")
    line = next(line for line in output.splitlines() if "sampler.candidates" in line)
    for text in ("10", "at least 1, at most 10,000", "harder negatives"):
        assert text in line
    assert output.splitlines()[-1] == "Next: hardneg train SPLIT --sampler dns --set sampler.candidates=10"
    assert "Zhang et al., 2013" in output
    assert "fit.learning_rate" in succeed("options", "fit")
    assert "It has no options." in succeed("options", "loss", "bce")


def test_plugins_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = tmp_path / "listed_plugin-1.0.dist-info"
    described.mkdir()
    source = "from hardneg.sampling import DNS\n\nclass Near(DNS):\n    '''Near [bold]ones.'''\n\n    margin: float = 0.5\n    '''A margin.'''\n"
    (tmp_path / "listed_plugin.py").write_text(source)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: listed-plugin\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[hardneg.samplers]\nnear = listed_plugin:Near\nabsent = no_such_module:Absent\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rows: Any = {row["name"]: row for row in values_of("options", "sampler")}  # type: ignore[index]
    assert rows["near"] == {
        "family": "sampler",
        "name": "near",
        "found in": "entry point",
        "description": "Near [bold]ones.",
    }
    assert rows["absent"]["description"].startswith("unusable: found sampler 'absent'")
    assert "A margin." in succeed("options", "sampler", "near")
    assert "A margin." in succeed("options", "sampler", "listed_plugin:Near")


def test_errors_are_one_line() -> None:
    assert "did you mean 'mixgcf'?" in refuse("options", "sampler", "mixgfc")
    assert "expected no name" in refuse("options", "fit", "epochs")
