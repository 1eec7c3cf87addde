"""The notebooks run, their files are valid, and their links and sentences follow the rules of the pages."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.docs.pages import ROOT

sys.path.append(str(ROOT / "website"))
import notebooks

FILES = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
KEYS = {
    "markdown": {"cell_type", "id", "metadata", "source"},
    "code": {"cell_type", "id", "metadata", "source", "execution_count", "outputs"},
}
NOTEBOOKS = pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in FILES])


def kinds(notebook: dict[str, Any]) -> list[list[str]]:
    """Return the kinds of output of every code cell."""
    return [[output["output_type"] for output in cell["outputs"]] for cell in notebook["cells"] if "outputs" in cell]


@NOTEBOOKS
def test_a_notebook_runs_and_has_the_outputs_of_its_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    stored = notebooks.read_notebook(path)
    fresh = copy.deepcopy(stored)
    notebooks.run_cells(fresh)
    assert kinds(fresh) == kinds(stored)
    assert all(kinds(fresh)[-1:])


@NOTEBOOKS
def test_the_file_is_valid(path: Path) -> None:
    notebook = notebooks.read_notebook(path)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    for cell in notebook["cells"]:
        assert set(cell) == KEYS[cell["cell_type"]]
        assert all(isinstance(line, str) for line in cell["source"])
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@NOTEBOOKS
def test_links_resolve_and_sentences_are_short(path: Path) -> None:
    for cell in notebooks.read_notebook(path)["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            assert all((path.parent / target).exists() for target in re.findall(r"\]\(([^)#]+)", text))
            for sentence in re.split(r"(?<=[.!?:;])\s+|\n", re.sub(r"\]\([^)]*\)", "", text)):
                assert len(sentence.split()) <= 26, sentence


def test_a_cell_shows_what_it_prints_its_last_value_and_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    sources = ["x = 1\nprint('one')\nx + 1", "import matplotlib.pyplot as plt\nplt.plot([x])"]
    notebook = {"cells": [{"cell_type": "code", "source": source} for source in sources]}
    notebooks.run_cells(notebook)
    assert kinds(notebook) == [["stream", "execute_result"], ["display_data"]]
    assert "```text\none\n```" in notebooks.as_markdown(notebook)
    assert "data:image/png;base64" in notebooks.as_markdown(notebook)


def test_another_format_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "old.ipynb").write_text('{"nbformat": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"old\.ipynb: found notebook format 3, expected 4"):
        notebooks.read_notebook(tmp_path / "old.ipynb")
