"""CITATION.cff has the keys of its format, and the version and licence of the package."""

from __future__ import annotations

import tomllib

import yaml
from tests.docs.pages import ROOT


def test_the_citation_is_complete_and_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = {"abstract", "authors", "cff-version", "keywords", "license", "message", "title", "type", "version"}
    assert {"cff-version", "message", "title", "authors"} <= set(citation) <= known
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == project["authors"]
    assert citation["keywords"] == project["keywords"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
