"""The figures of the results show the numbers of the committed tables."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.docs.pages import ROOT

sys.path.append(str(ROOT / "reproduction"))
import figures


def test_effects_are_those_of_the_tables() -> None:
    rows = {row.label: row for row in figures.baselines()["Sports, MF"]}
    assert rows["MixGCF"] == figures.Effect("MixGCF", 38.6, 35.4, 41.9, 0.001)
    assert [len(panel) for panel in figures.baselines().values()] == [2] * 6
    controls = figures.hnlmrec()
    assert {row.label: row.p for row in controls["Yelp"]}["w/o e_hard"] == 0.088
    assert [row.label for row in controls["Scientific"]] == [row.label for row in controls["Yelp"]]
    assert [len(panel) for panel in figures.dtl_ns().values()] == [4] * 6


def test_all_figures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["figures.py", "--out", str(tmp_path)])
    figures.main()
    drawn = {file.name for file in tmp_path.glob("*.svg")}
    assert drawn == {"baselines.svg", "hnlmrec-controls.svg", "dtl-ns-parts.svg"}
    assert all((ROOT / "docs" / "images" / name).is_file() for name in drawn)
